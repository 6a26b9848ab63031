"""A picture -> a feature volume of its appearance."""

import dataclasses

import flax.linen as nn
import jax

from talkface_jax.models.blocks import like_params
from talkface_jax.models.pair_convs import PlaneConv
from talkface_jax.models.render.latent_keypoints.layers import (
    ConvNorm,
    DownBlock,
    VolumeResidual,
    as_volume,
)
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, Range, ranged


@dataclasses.dataclass(frozen=True)
class AppearanceConfig:
    """Sizes of the appearance network; the defaults are those of both public generators.

    Attributes:
      channels: at full size, doubled at each halving.
      halvings: of height and width.
      volume_channels, depth: of the volume; their product is the width of the last 2-D layer.
      blocks: residual blocks on the volume.
    """

    channels: int = ranged(64, AT_LEAST_1)
    halvings: int = ranged(2, AT_LEAST_1)
    volume_channels: int = ranged(32, AT_LEAST_1)
    depth: int = ranged(16, Range(least=2))
    blocks: int = ranged(6, AT_LEAST_0)


DEFAULT_APPEARANCE = AppearanceConfig()


class Appearance(nn.Module):
    """The appearance feature extractor."""

    config: AppearanceConfig = AppearanceConfig()

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """The volume of a picture.

        Args:
          image: (b, h, w, 3) in [0, 1], RGB.
          train: whether BatchNorm takes the batch's statistics.

        Returns:
          (b, depth, h / 2**halvings, w / 2**halvings, volume_channels).
        """
        config = self.config
        x = ConvNorm(config.channels, name="first")(like_params(self, image), train=train)
        for index in range(config.halvings):
            x = DownBlock(config.channels * 2 ** (index + 1), name=f"down_{index}")(x, train=train)
        x = PlaneConv(config.volume_channels * config.depth, 1, name="second")(x)
        x = as_volume(x, config.depth)
        for index in range(config.blocks):
            x = VolumeResidual(config.volume_channels, name=f"residual_{index}")(x, train=train)
        return x
