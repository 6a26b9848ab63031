"""A picture -> canonical keypoints, pose, expression and scale at once (LivePortrait).

Source: Guo et al., LivePortrait (arXiv 2407.03168), section 3.1, and the released code.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax

from talkface_jax.models.blocks import widen
from talkface_jax.models.convnext import TINY, ConvNext, ConvNextConfig
from talkface_jax.models.render.latent_keypoints.placement import (
    Pose,
    liveportrait_keypoints,
    pose_heads,
)
from talkface_jax.ranges import AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class MotionExtractorConfig:
    """Sizes of the extractor; the defaults are LivePortrait's on 256² pictures.

    Attributes:
      backbone: the network below the heads.
      bins: of each angle.
      keypoints: how many.
    """

    backbone: ConvNextConfig = TINY
    bins: int = ranged(66, AT_LEAST_1)
    keypoints: int = ranged(21, AT_LEAST_1)


DEFAULT_EXTRACTOR = MotionExtractorConfig()


@flax.struct.dataclass
class Motion:
    """canonical keypoints (b, k, 3), their pose, and scale (b, 1); float32."""

    canonical: jax.Array
    pose: Pose
    scale: jax.Array

    def keypoints(self) -> jax.Array:
        """As the picture shows them, (b, k, 3)."""
        return liveportrait_keypoints(self.canonical, self.pose, self.scale)


class MotionExtractor(nn.Module):
    """The motion extractor."""

    config: MotionExtractorConfig = DEFAULT_EXTRACTOR

    @nn.compact
    def __call__(self, image: jax.Array) -> Motion:
        """Pictures (b, h, w, 3) in [0, 1], RGB."""
        config = self.config
        x = ConvNext(config.backbone, name="backbone")(image)
        canonical = widen(nn.Dense(3 * config.keypoints, name="canonical")(x))
        return Motion(
            canonical=canonical.reshape(-1, config.keypoints, 3),
            pose=pose_heads(x, bins=config.bins, keypoints=config.keypoints),
            scale=widen(nn.Dense(1, name="scale")(x)),
        )
