import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask

NONE = RenderConfig(perceptual="none", perceptual_weight=0.0, style_weight=0.0, warp_loss="l1")


def test_perceptual_warp_loss_without_a_network_is_refused():
    assert RenderTask(NONE).frozen() == {}
    with pytest.raises(ConfigError, match=r"warp_loss is perceptual; set .* warp_loss to l1"):
        RenderTask(dataclasses.replace(NONE, warp_loss="perceptual"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": 0}, "task.references must be at least 1, not 0"),
        ({"warmup_steps": -1}, "task.warmup_steps must be at least 0, not -1"),
        ({"perceptual_layers": 6}, "task.perceptual_layers must be from 1 to 5, not 6"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=f"^config.{message}; give another --config.task"):
        RenderTask(dataclasses.replace(RenderConfig(), **changes))
