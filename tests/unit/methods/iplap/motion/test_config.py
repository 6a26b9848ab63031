import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.models.motion.landmark_transformer import SMALL, LandmarkTransformerConfig


def test_affine_features_need_the_residual_head():
    net = LandmarkTransformerConfig(pose_features="affine", head="residual")
    MotionTask(MotionConfig(net=net))
    with pytest.raises(ConfigError, match="pose_features affine needs head residual; set head to"):
        MotionTask(MotionConfig(net=dataclasses.replace(net, head="absolute")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": 0}, "task.references must be at least 1, not 0"),
        ({"smooth": -1.0}, r"task.smooth must be from 0 to 250, not -1\.0"),
        ({"smooth": 1e9}, r"task.smooth must be from 0 to 250, not 1000000000\.0"),
        ({"margin": -5.0}, r"task.margin must be from 0 to 2, not -5\.0"),
        ({"velocity_weight": -1.0}, r"task.velocity_weight must be at least 0, not -1\.0"),
        ({"shift_jitter": -0.1}, r"task.shift_jitter must be at least 0, not -0\.1"),
        ({"scale_jitter": 1.0}, r"task.scale_jitter must be from 0 to below 1, not 1\.0"),
        ({"mel_noise": float("nan")}, "task.mel_noise must be at least 0, not nan"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=f"^config.{message}; give another --config.task"):
        MotionTask(dataclasses.replace(MotionConfig(), **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heads": 3},
            "width 512 is not a multiple of net.heads = 3; give another --config.task.n",
        ),
        ({"width": 35, "heads": 5}, "width must be even where net.positions is 'sinusoid', not 35"),
        ({"window": 7}, "window must be 5, not 7; give --config.task.net.window=5$"),
        ({"lips": 39}, "lips must be 40, not 39; give another --config.task.net.lips"),
        ({"jaw": 0}, "jaw must be 17, not 0; give another --config.task.net.jaw"),
        (
            {"mel_channels": (0, 1, 1, 1)},
            "mel_channels must be at least 1, not .0, 1, 1, 1.; give ",
        ),
        ({"point_channels": (4,) * 6 + (0,)}, "point_channels must be at least 1, not .*0.; give "),
        ({"residual_scale": 0.0}, r"residual_scale must be above 0, not 0\.0; give another "),
    ],
)
def test_impossible_networks_are_refused_by_name(changes, message):
    net = dataclasses.replace(LandmarkTransformerConfig(), **changes)
    with pytest.raises(ConfigError, match=f"^config.task.net.{message}"):
        MotionTask(MotionConfig(net=net))


def test_an_odd_width_does_with_learned_positions():
    MotionTask(MotionConfig(net=dataclasses.replace(SMALL, width=35, heads=5)))
