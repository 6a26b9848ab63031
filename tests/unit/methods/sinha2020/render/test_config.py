import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.sinha2020.render.task import RenderTask
from talkface_jax.models.render.attention_texture import SMALL
from talkface_jax.models.render.point_flow import PointFlowConfig

NET = dataclasses.replace(SMALL, size=32, channels=4, blocks=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perceptual": "none"}, "perceptual is none but perceptual_weight is not 0"),
        (
            {"perceptual": "none", "perceptual_weight": 0.0, "mouth_weight": 1.0},
            "perceptual is none but mouth_weight is not 0",
        ),
        (
            {"net": dataclasses.replace(NET, size=20, fold=1), "mouth_weight": 1.0},
            "net: size 20 is no multiple of 8, as the close-up of the mouth",
        ),
        (
            {"net": NET, "mouth_weight": 1.0, "perceptual_layers": 4, "perceptual_halvings": 2},
            "close-up of the mouth, 16x12 pixels where net.size is 32, which cannot be halved 1",
        ),
        ({"net": dataclasses.replace(NET, size=36)}, "size 36 is no multiple of 8"),
        (
            {"net": dataclasses.replace(NET, attention_start=1.0)},
            r"net\.attention_start must be above 0 and below 1, not 1\.0",
        ),
        (
            {"net": dataclasses.replace(NET, kernel=4)},
            r"net\.kernel must be at least 1 and odd, not 4",
        ),
        ({"net": dataclasses.replace(NET, size=0)}, r"net\.size must be at least 1, not 0"),
        ({"closed_share": 25.0}, r"closed_share must be from 0 to 1, not 25\.0"),
        ({"perceptual_layers": 6}, "perceptual_layers must be from 1 to 5, not 6"),
        ({"disc_scales": 0}, "disc_scales must be at least 1, not 0"),
        ({"margin": -5.0}, r"margin must be from 0 to 2, not -5\.0; give another"),
        ({"smooth": 1e9}, r"smooth must be from 0 to 250, not 1000000000\.0; give another"),
        ({"attention_weight": -1.0}, r"attention_weight must be at least 0, not -1\.0"),
        (
            {"net": dataclasses.replace(NET, flow=PointFlowConfig(sigmas=(0.1, 0.0)))},
            r"net\.flow\.sigmas must be above 0, not \(0\.1, 0\.0\)",
        ),
        (
            {"net": dataclasses.replace(NET, flow=PointFlowConfig(background=0.0))},
            r"net\.flow\.background must be above 0, not 0\.0",
        ),
        (
            {"net": dataclasses.replace(NET, flow=PointFlowConfig(gap=-1.0))},
            r"net\.flow\.gap must be at least 0, not -1\.0",
        ),
        (
            {"perceptual_halvings": 12},
            "net.size 256 cannot be halved 12 times, as perceptual_halvings and perceptual_scales",
        ),
        ({"perceptual_scales": 6}, "halved 5 times, as perceptual_scales say, to a .* least 16,"),
        (
            {"net": dataclasses.replace(NET, size=200), "perceptual_scales": 1, "disc_halvings": 4},
            "net.size 200 cannot be halved disc_halvings = 4 times to whole pixels; give a smaller",
        ),
        ({"disc_halvings": 6}, "disc_halvings 6 and disc_scales 1 the images are 4 pixels wide"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        RenderTask(dataclasses.replace(RenderConfig(), **changes))


def test_pictures_that_can_be_halved_so_often_pass():
    """As far as the network needs them, and without it however often."""
    RenderTask(RenderConfig(perceptual_halvings=2, perceptual_scales=3))
    RenderTask(RenderConfig(perceptual_weight=0.0, perceptual_halvings=12))
