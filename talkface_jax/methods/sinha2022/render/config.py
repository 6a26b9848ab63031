"""Config of the render stage."""

import dataclasses
from typing import Literal

from talkface_jax.methods.stages.portrait.config import PortraitConfig
from talkface_jax.models.render.flow_texture import FlowTextureConfig
from talkface_jax.ranges import AT_LEAST_0, ranged


@dataclasses.dataclass(frozen=True)
class RenderConfig(PortraitConfig):
    """One picture moved by a flow and painted anew, and the conditional PatchGAN.

    Attributes:
      net: network sizes.
      source: whose frame the picture is: "neutral", of a neutral clip of the same speaker, or of
        the clip itself where there is none; "clip", of the clip itself, for sets whose light
        differs from clip to clip. Unverified default.
      perceptual_weight: weight of the VGG term: of each layer, for they are summed. Unverified
        default.
      variation_weight: weight of the total variation of the flow in pixels. Unverified default.
    """

    net: FlowTextureConfig = dataclasses.field(default_factory=FlowTextureConfig)
    source: Literal["neutral", "clip"] = "neutral"
    perceptual_weight: float = ranged(1.0, AT_LEAST_0)
    variation_weight: float = ranged(1e-4, AT_LEAST_0)
