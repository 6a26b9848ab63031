import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.task import MotionTask
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarksConfig

NET = SpeechLandmarksConfig(channels=(4, 4), hidden=6, basis=3)
CONFIG = MotionConfig(net=NET, feature="ctc29", window=4, lip_weight=3.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 1}, "window must be at least 2, not 1"),
        ({"references": 0}, "references must be at least 1, not 0"),
        ({"position_weight": -1.0}, r"position_weight must be at least 0, not -1\.0"),
        ({"velocity_weight": float("nan")}, "velocity_weight must be at least 0, not nan"),
        ({"lip_weight": -0.5}, r"lip_weight must be at least 0, not -0\.5"),
        ({"rows": 15}, "rows must be at least 2 and even, not 15"),
        ({"net": dataclasses.replace(NET, basis=0)}, "net.basis must be from 1 to 136, not 0"),
        ({"net": dataclasses.replace(NET, basis=137)}, "net.basis must be from 1 to 136, not 137"),
        ({"net": dataclasses.replace(NET, points=67)}, "net.points must be 68, not 67"),
        (
            {"net": dataclasses.replace(NET, dropout=1.0)},
            r"net.dropout must be .* below 1, not 1\.0",
        ),
    ],
)
def test_impossible_configs_are_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=f"^config.task.{message}; give another --config.task."):
        MotionTask(dataclasses.replace(CONFIG, **change))
