"""A feature map -> a picture, by residual blocks that the map itself modulates.

Source: Park et al., CVPR 2019 (SPADE), as the unofficial face-vid2vid and LivePortrait build it.
Their convolutions are spectrally normalised in training; here they hold what that comes to.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import (
    Modulation,
    instance_norm,
    like_params,
    modulate,
    pixel_shuffle,
    widen,
)
from talkface_jax.models.linear_convs import ConvWeights
from talkface_jax.models.pair_convs import PlaneConv, convolve
from talkface_jax.models.volume_convs import double_planes
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, ranged

_SLOPE = 0.2
_NEAR_ZERO = nn.initializers.normal(5e-5)
_GAIN = 4.0
"""Of a correction: learned so much faster than by its last convolution's own steps."""


@dataclasses.dataclass(frozen=True)
class SpadeDecoderConfig:
    """Sizes of the decoder; the defaults are face-vid2vid's, a picture of 4 times the map's size.

    Attributes:
      width: channels of the feature map; the blocks in the middle have twice as many.
      blocks: residual blocks at the map's size.
      last: channels of the last block, at 4 times the size.
      hidden: of the modulations.
      unfold: 2: the last convolution makes four pixels of one, as LivePortrait's does; or 1.
      paint: "absolute", the picture by itself, as published; or "correction", what is to be added
        to a picture, nearly nothing at the start. Ours.
    """

    width: int = ranged(256, AT_LEAST_1)
    blocks: int = ranged(6, AT_LEAST_0)
    last: int = ranged(64, AT_LEAST_1)
    hidden: int = ranged(128, AT_LEAST_1)
    unfold: Literal[1, 2] = 1
    paint: Literal["absolute", "correction"] = "absolute"


DEFAULT_DECODER = SpadeDecoderConfig()


class SpadeLayer(nn.Module):
    """Instance norm, scaled and moved by maps that two convolutions with a ReLU between make of the
    condition."""

    features: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """x (b, h, w, features) and condition (b, h, w, any) -> (b, h, w, features)."""
        return modulate(instance_norm(x), self._modulation(condition))

    def _modulation(self, condition: jax.Array) -> Modulation:
        shared = nn.relu(PlaneConv(self.hidden, name="shared")(condition))
        scale = ConvWeights(self.features, name="scale")(self.hidden)
        offset = ConvWeights(self.features, name="offset")(self.hidden)
        kernel, bias = (jnp.concatenate(pair, -1) for pair in zip(scale, offset, strict=True))
        maps = convolve(shared, kernel) + bias
        return maps[..., : self.features], maps[..., self.features :]


class SpadeResidual(nn.Module):
    """Twice: SPADE, LeakyReLU 0.2, convolution; the input added, by a 1x1 convolution of its own
    SPADE where the channels change."""

    features: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """x (b, h, w, c) and condition (b, h, w, any) -> (b, h, w, features)."""
        inputs = x.shape[-1]
        middle = min(inputs, self.features)
        y = SpadeLayer(inputs, self.hidden, name="spade_0")(x, condition)
        y = PlaneConv(middle, name="conv_0")(nn.leaky_relu(y, _SLOPE))
        y = SpadeLayer(middle, self.hidden, name="spade_1")(y, condition)
        y = PlaneConv(self.features, name="conv_1")(nn.leaky_relu(y, _SLOPE))
        if inputs != self.features:
            x = SpadeLayer(inputs, self.hidden, name="spade_s")(x, condition)
            x = PlaneConv(self.features, 1, use_bias=False, name="conv_s")(x)
        return x + y


class SpadeDecoder(nn.Module):
    """The picture of a feature map."""

    config: SpadeDecoderConfig = SpadeDecoderConfig()

    @nn.compact
    def __call__(self, features: jax.Array, guides: Sequence[jax.Array] = ()) -> jax.Array:
        """The picture.

        Args:
          features: (b, h, w, width).
          guides: further maps (b, h, w, any), (b, 2h, 2w, any) and (b, 4h, 4w, any) that modulate
            the blocks of those sizes, the first beside the features at the entrance too; or none.

        Returns:
          (b, s·h, s·w, 3) float32; s is 4 times `unfold`. In [0, 1] unless it is a correction.
        """
        config = self.config
        x = like_params(self, features)
        conditions = _guided([x, double_planes(x), double_planes(double_planes(x))], guides)
        x = PlaneConv(2 * config.width, name="first")(conditions[0])
        for index in range(config.blocks):
            block = SpadeResidual(2 * config.width, config.hidden, name=f"middle_{index}")
            x = block(x, conditions[0])
        for index, width in enumerate((config.width, config.last)):
            block = SpadeResidual(width, config.hidden, name=f"up_{index}")
            x = block(double_planes(x), conditions[index + 1])
        adds = config.paint == "correction"
        start = _NEAR_ZERO if adds else nn.linear.default_kernel_init
        colour = nn.Conv(3 * config.unfold**2, (3, 3), kernel_init=start, name="colour")
        x = colour(nn.leaky_relu(x, _SLOPE))
        x = widen(pixel_shuffle(x) if config.unfold == 2 else x)
        return _GAIN * x if adds else nn.sigmoid(x)


def _guided(conditions: list[jax.Array], guides: Sequence[jax.Array]) -> list[jax.Array]:
    """Each map with its guide beside it."""
    if not guides:
        return conditions
    pairs = zip(conditions, guides, strict=True)
    return [jnp.concatenate([x, guide.astype(x.dtype)], -1) for x, guide in pairs]
