"""Blocks of images (b, h, w, c) and volumes (b, d, h, w, c); depth is never scaled.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), figure 12, as the unofficial code and
LivePortrait build them.
"""

from typing import Literal

import flax.linen as nn
import jax

from talkface_jax.models.blocks import batch_norm, halve
from talkface_jax.models.pair_convs import PlaneConv
from talkface_jax.models.volume_convs import DoublingVolumeConv, VolumeConv

Dimensions = Literal[2, 3]


def halve_planes(x: jax.Array) -> jax.Array:
    """2x2 means over height and width of images or volumes."""
    planes = halve(x.reshape(-1, *x.shape[-3:]))
    return planes.reshape(*x.shape[:-3], *planes.shape[1:])


def as_volume(x: jax.Array, depth: int) -> jax.Array:
    """(b, h, w, c·depth) -> (b, depth, h, w, c); in the channels the depth runs fastest."""
    b, h, w, channels = x.shape
    return x.reshape(b, h, w, channels // depth, depth).transpose(0, 4, 1, 2, 3)


def as_image(x: jax.Array) -> jax.Array:
    """The inverse of `as_volume`: (b, d, h, w, c) -> (b, h, w, c·d)."""
    b, d, h, w, c = x.shape
    return x.transpose(0, 2, 3, 4, 1).reshape(b, h, w, c * d)


class ConvNorm(nn.Module):
    """Convolution of kernel 3 (or `size`), BatchNorm, LeakyReLU of `slope`, by default ReLU."""

    features: int
    dimensions: Dimensions = 2
    size: int = 3
    stride: int = 1
    slope: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, *space, c) -> (b, *space, features), images smaller by the stride."""
        if self.dimensions == 3:
            x = VolumeConv(self.features, self.size, name="conv")(x)
        else:
            x = PlaneConv(self.features, self.size, self.stride, name="conv")(x)
        x = batch_norm(train=train, name="norm")(x)
        return nn.leaky_relu(x, self.slope) if self.slope else nn.relu(x)


class DownBlock(nn.Module):
    """`ConvNorm`, then half the height and width."""

    features: int
    dimensions: Dimensions = 2

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(…, h, w, c) -> (…, h/2, w/2, features)."""
        return halve_planes(ConvNorm(self.features, self.dimensions, name="body")(x, train=train))


class _DoublingConvNorm(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = DoublingVolumeConv(self.features, name="conv")(x)
        return nn.relu(batch_norm(train=train, name="norm")(x))


class UpBlock(nn.Module):
    """Twice the height and width, then a 3-D `ConvNorm`."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, d, h, w, c) -> (b, d, 2h, 2w, features)."""
        return _DoublingConvNorm(self.features, name="body")(x, train=train)


class VolumeResidual(nn.Module):
    """Twice: BatchNorm, ReLU, convolution; the input added."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, d, h, w, features) -> the same shape."""
        y = x
        for index in (1, 2):
            y = nn.relu(batch_norm(train=train, name=f"norm_{index}")(y))
            y = VolumeConv(self.features, 3, name=f"conv_{index}")(y)
        return x + y
