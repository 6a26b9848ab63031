import dataclasses

import jax.numpy as jnp
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.losses import blink_features as features
from talkface_jax.methods.stages.blink.config import MIN_WINDOW, BlinkConfig
from talkface_jax.methods.stages.blink.task import BlinkTask
from talkface_jax.models.motion.blink_lstm import BlinkLstmConfig


def test_the_smallest_window_is_two_patches():
    """The config must not import losses, so the number stands there again."""
    assert MIN_WINDOW == 2 * features.PATCH
    # The longest smoothing fits, too.
    assert features.positions(jnp.zeros((1, MIN_WINDOW))).shape[1] > 0
    BlinkTask(BlinkConfig(window=MIN_WINDOW))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 10}, r"task.window must be at least 26, not 10; give another"),
        ({"rounds": 0}, "task.rounds must be at least 1"),
        ({"references": 0}, "task.references must be at least 1"),
        ({"bandwidths": ()}, "task.bandwidths must not be empty; give numbers that are above 0"),
        ({"mmd_weight": -1.0}, r"task.mmd_weight must be at least 0, not -1\.0; give another"),
        ({"range_weight": float("nan")}, "task.range_weight must be at least 0, not nan"),
        ({"bandwidths": (1.0, -2.0)}, r"task.bandwidths must be above 0, not \(1\.0, -2\.0\)"),
        ({"net": BlinkLstmConfig(points=20)}, "task.net.points must be 22, not 20"),
    ],
)
def test_impossible_configs_are_refused(changes, message):
    with pytest.raises(ConfigError, match="^config." + message):
        BlinkTask(dataclasses.replace(BlinkConfig(), **changes))
