import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask
from talkface_jax.models.render.landmark_flow import LandmarkFlowConfig
from talkface_jax.models.render.reference_warping import SMALL

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
        ({"margin": 2.5}, r"task.margin must be from 0 to 2, not 2\.5"),
        ({"smooth": float("inf")}, "task.smooth must be from 0 to 250, not inf"),
        ({"style_weight": float("nan")}, "task.style_weight must be at least 0, not nan"),
        ({"l1_weight": -1.0}, r"task.l1_weight must be at least 0, not -1\.0"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=f"^config.{message}; give another --config.task"):
        RenderTask(dataclasses.replace(RenderConfig(), **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 66}, "size must be a multiple of 4, not 66"),
        ({"deep": 10}, "deep must be a multiple of 4, not 10"),
        ({"window": 30}, "window must be a multiple of 4 of at most net.size 128, not 30"),
        ({"window": 132}, "window must be a multiple of 4 of at most net.size 128, not 132"),
        ({"mel_channels": (8, 0, 8, 8)}, "mel_channels must be at least 1, not .8, 0, 8, 8."),
        ({"sketch_channels": 4}, "sketch_channels must be from 1 to 3, not 4"),
        ({"prior": LandmarkFlowConfig(lip_sigma=0.0)}, "prior.lip_sigma must be above 0, not 0"),
        (
            {"prior": LandmarkFlowConfig(face_sigma=-1.0)},
            "prior.face_sigma must be above 0, not -1",
        ),
        ({"prior": LandmarkFlowConfig(background=0.0)}, "prior.background must be above 0, not 0"),
        (
            {"prior": LandmarkFlowConfig(temperature=0.0)},
            "prior.temperature must be above 0, not 0",
        ),
    ],
)
def test_impossible_networks_are_refused_by_name(changes, message):
    net = dataclasses.replace(SMALL, **changes)
    with pytest.raises(ConfigError, match=f"^config.task.net.{message}.*; give another --config"):
        RenderTask(dataclasses.replace(NONE, net=net))


def test_pictures_must_bear_the_halvings_of_the_perceptual_network():
    config = RenderConfig(net=dataclasses.replace(SMALL, size=128))
    RenderTask(dataclasses.replace(config, perceptual_scales=4))  # 16 pixels at the last
    message = "net.size 128 cannot be halved 4 times, as perceptual_scales say, to a .* at least 16"
    with pytest.raises(ConfigError, match=message):
        RenderTask(dataclasses.replace(config, perceptual_scales=5))
    RenderTask(dataclasses.replace(config, perceptual_scales=5, perceptual_layers=4))
    with pytest.raises(ConfigError, match="halved 3 times"):  # 100, 50, 25 pixels
        RenderTask(
            RenderConfig(
                net=dataclasses.replace(SMALL, size=100), perceptual_scales=4, perceptual_layers=1
            )
        )
    RenderTask(dataclasses.replace(NONE, net=config.net, perceptual_scales=9))
