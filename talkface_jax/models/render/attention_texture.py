"""An attention and a colour map over one picture of a person (Sinha et al., IJCNN 2020, section on
texture generation; arXiv 2005.12318).

The network looks at a picture of the identity and at landmark maps of it and of the target. Its
colour map paints what changes, its attention map says where; all else is the identity's own pixels:
  image = attention * colour + (1 - attention) * identity.
The flow by landmarks, the residual colour map and the folded stem are ours, for small networks.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import (
    ResidualBlock,
    conv,
    double,
    fold,
    instance_norm,
    like_params,
    unfold,
    widen,
)
from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.models.render.point_flow import DEFAULT_FLOW, PointFlowConfig, point_flow
from talkface_jax.models.warp import warp
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, Range, ranged

_NEAR_ZERO = nn.initializers.normal(1e-3)
# tanh's inverse has no value at the ends; beyond this a colour could not be moved any more either.
_REACH = 0.95


@dataclasses.dataclass(frozen=True)
class AttentionTextureConfig:
    """Sizes of the network; every default is an unverified default, those "as published" too; only
    the two heads are certain.

    Attributes:
      size: height and width of the crop, a multiple of 4 times `fold`.
      channels: features at full size; doubled at each of the two stages below.
      blocks: residual blocks at a quarter of the size.
      kernel: of the first convolution and of the heads.
      fold: pixels of a square of this side become channels before the first convolution, and the
        heads unfold them; 1 as published.
      line_width: deviation of the lines of the landmark maps, in pixels of the folded picture.
      colour: "absolute", the colour map by itself, as published; or "warped", a correction of the
        identity warped by the landmarks, which the network then sees too.
      flow: kernels of that warp.
      attention_start: attention of the fresh network, everywhere.
    """

    size: int = ranged(256, AT_LEAST_1)
    channels: int = ranged(64, AT_LEAST_1)
    blocks: int = ranged(9, AT_LEAST_0)
    kernel: int = ranged(7, Range(least=1, parity="odd"))
    fold: Literal[1, 2] = 1
    line_width: float = ranged(1.5, Range(least=0.1))
    colour: Literal["absolute", "warped"] = "absolute"
    flow: PointFlowConfig = DEFAULT_FLOW
    attention_start: float = ranged(0.2, Range(above=0, below=1))


SMALL = AttentionTextureConfig(channels=16, blocks=4, kernel=3, fold=2, colour="warped")
"""Trains on a CPU; the warp by landmarks does what the width cannot."""


@flax.struct.dataclass
class Rendered:
    """image and colour (b, h, w, 3) in [0, 1], attention (b, h, w, 1) in [0, 1]; float32."""

    image: jax.Array
    attention: jax.Array
    colour: jax.Array


class EncoderDecoder(nn.Module):
    """Two stages down, residual blocks, two stages up with skips."""

    config: AttentionTextureConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, h, w, c) -> (b, h, w, channels)."""
        config, skips = self.config, []
        x = nn.relu(instance_norm(conv(config.channels, size=config.kernel, name="stem")(x)))
        for index in (1, 2):
            skips.append(x)
            down = conv(config.channels * 2**index, size=3, stride=2, name=f"down_{index}")
            x = nn.relu(instance_norm(down(x)))
        for index in range(config.blocks):
            x = ResidualBlock(config.channels * 4, name=f"block_{index}")(x)
        for index in (1, 0):
            # A convolution after the resize: a transposed one leaves a checkerboard.
            up = conv(config.channels * 2**index, size=3, name=f"up_{index + 1}")
            x = nn.relu(instance_norm(up(jnp.concatenate([double(x), skips[index]], -1))))
        return x


class AttentionTexture(nn.Module):
    """A picture of the identity and two sets of landmarks -> the picture with the target's."""

    config: AttentionTextureConfig = AttentionTextureConfig()

    @nn.compact
    def __call__(
        self, identity: jax.Array, identity_points: jax.Array, points: jax.Array
    ) -> Rendered:
        """The rendered crop, and the two maps that it is made of.

        Args:
          identity: (b, size, size, 3) in [0, 1].
          identity_points: (b, 68, 2) of scheme ibug68, [0, 1] over the crop.
          points: (b, 68, 2), those of the target.
        """
        config = self.config
        identity = identity.astype(jnp.float32)
        small = config.size // config.fold
        pictures = identity
        if config.colour == "warped":
            flow = point_flow(points, identity_points, size=config.size, config=config.flow)
            warped = warp(identity, flow, grid="aligned")
            pictures = jnp.concatenate([identity, warped], -1)
        maps = [
            landmark_maps(places, size=small, width=config.line_width)
            for places in (identity_points, points)
        ]
        seen = jnp.concatenate([fold(2 * pictures - 1, config.fold), *maps], -1)
        x = EncoderDecoder(config, name="net")(like_params(self, seen))
        painted = self._head("colour", 3)(x)
        if config.colour == "warped":
            base = jnp.arctanh(jnp.clip(2 * warped - 1, -_REACH, _REACH))
            painted = widen(unfold(painted, config.fold)) + base
        else:
            painted = widen(unfold(painted, config.fold))
        colour = (jnp.tanh(painted) + 1) / 2
        attention = nn.sigmoid(widen(unfold(self._head("attention", 1)(x), config.fold)))
        image = attention * colour + (1 - attention) * identity
        return Rendered(image=image, attention=attention, colour=colour)

    def _head(self, name: Literal["colour", "attention"], features: int) -> nn.Conv:
        config = self.config
        pad = config.kernel // 2
        start = config.attention_start
        bias = math.log(start / (1 - start)) if name == "attention" else 0.0
        absolute = name == "colour" and config.colour == "absolute"
        return nn.Conv(
            features * config.fold**2,
            (config.kernel, config.kernel),
            padding=[(pad, pad), (pad, pad)],
            kernel_init=nn.linear.default_kernel_init if absolute else _NEAR_ZERO,
            bias_init=nn.initializers.constant(bias),
            name=name,
        )
