"""Config of the render stage."""

import dataclasses

from talkface_jax.methods.stages.portrait.config import PortraitConfig
from talkface_jax.models.render.attention_texture import AttentionTextureConfig
from talkface_jax.ranges import AT_LEAST_0, ranged


@dataclasses.dataclass(frozen=True)
class RenderConfig(PortraitConfig):
    """Attention and colour maps over one picture of the identity, and the conditional PatchGAN.

    Attributes:
      net: network sizes.
      attention_weight: weight of the mean of the attention map. Unverified default.
      variation_weight: weight of the total variation of the attention map. Unverified default.
    """

    net: AttentionTextureConfig = dataclasses.field(default_factory=AttentionTextureConfig)
    attention_weight: float = ranged(0.1, AT_LEAST_0)
    variation_weight: float = ranged(0.1, AT_LEAST_0)
