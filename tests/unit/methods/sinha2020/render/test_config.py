import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.sinha2020.render.task import RenderTask
from talkface_jax.models.render.attention_texture import SMALL

NET = dataclasses.replace(SMALL, size=32, channels=4, blocks=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perceptual": "none"}, "perceptual is none but perceptual_weight is not 0"),
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
        ({"disc_halvings": 6}, "disc_halvings 6 and disc_scales 1 the images are 4 pixels wide"),
    ],
)
def test_impossible_configs_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        RenderTask(dataclasses.replace(RenderConfig(), **changes))
