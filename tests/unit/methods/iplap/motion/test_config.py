import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformerConfig


def test_affine_features_need_the_residual_head():
    net = LandmarkTransformerConfig(pose_features="affine", head="residual")
    MotionTask(MotionConfig(net=net))
    with pytest.raises(ConfigError, match="pose_features affine needs head residual; set head to"):
        MotionTask(MotionConfig(net=dataclasses.replace(net, head="absolute")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": 0}, "task.references must be at least 1, not 0"),
        ({"smooth": -1.0}, r"task.smooth must be at least 0, not -1\.0"),
        ({"scale_jitter": 1.0}, r"task.scale_jitter must be from 0 to below 1, not 1\.0"),
        ({"mel_noise": float("nan")}, "task.mel_noise must be at least 0, not nan"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=f"^config.{message}; give another --config.task"):
        MotionTask(dataclasses.replace(MotionConfig(), **changes))
