import dataclasses

import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.sinha2022.render.task import RenderTask
from talkface_jax.models.render.flow_texture import SMALL

NET = dataclasses.replace(SMALL, size=32, channels=4, blocks=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": dataclasses.replace(NET, size=36)}, "size 36 is no multiple of 8, as the stages"),
        ({"net": dataclasses.replace(NET, sigma=0.0)}, r"net\.sigma must be above 0, not 0\.0"),
        ({"net": dataclasses.replace(NET, kernel=4)}, r"net\.kernel must be .* odd, not 4"),
        ({"net": dataclasses.replace(NET, occlusion_start=float("inf"))}, "occlusion_start must"),
        ({"variation_weight": -1.0}, r"variation_weight must be at least 0, not -1\.0"),
        ({"perceptual": "none"}, "perceptual is none but perceptual_weight is not 0"),
    ],
)
def test_contradictions_are_one_sentence(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        RenderTask(RenderConfig(**changes))
    assert "\n" not in str(caught.value)


def test_weights_of_the_published_loss():
    terms = RenderTask(RenderConfig()).objectives[0].terms
    assert {term.name: term.weight for term in terms} == {
        "l1": 10.0,
        "perceptual": 1.0,
        "adversarial": 1.0,
        "variation": 1e-4,
    }
    assert RenderConfig().perceptual_layers == 5
