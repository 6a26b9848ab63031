"""A picture -> head pose and expression, by a residual network (ResNet; He et al., CVPR 2016).

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), and its unofficial code.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import batch_norm, like_params
from talkface_jax.models.pair_convs import PlaneConv
from talkface_jax.models.render.latent_keypoints.layers import ConvNorm
from talkface_jax.models.render.latent_keypoints.placement import Pose, pose_heads
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class HeadPoseConfig:
    """Sizes of the estimator; the defaults are the unofficial face-vid2vid's on 256² pictures.

    Attributes:
      channels: of the first layer.
      widths: of the stages, each of half the height and width of the one before.
      blocks: residual blocks of the stages, besides the one that halves.
      bins: of each angle.
      keypoints: that the expression moves.
    """

    channels: int = ranged(64, AT_LEAST_1)
    widths: tuple[int, ...] = ranged((256, 512, 1024, 2048), AT_LEAST_1)
    blocks: tuple[int, ...] = ranged((3, 3, 5, 2), AT_LEAST_0)
    bins: int = ranged(66, AT_LEAST_1)
    keypoints: int = ranged(15, AT_LEAST_1)


DEFAULT_HEAD_POSE = HeadPoseConfig()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with BatchNorm, a quarter as wide between; the input added."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, h, w, features) -> (b, h/stride, w/stride, features)."""
        inner = self.features // 4
        y = ConvNorm(inner, size=1, name="body_1")(x, train=train)
        y = ConvNorm(inner, stride=self.stride, name="body_2")(y, train=train)
        y = PlaneConv(self.features, 1, name="conv_3")(y)
        y = batch_norm(train=train, name="norm_3")(y)
        if self.stride != 1:
            x = PlaneConv(self.features, 1, self.stride, name="skip")(x)
            x = batch_norm(train=train, name="skip_norm")(x)
        return nn.relu(x + y)


def _max_pool(x: jax.Array) -> jax.Array:
    """Largest of each 3x3 window, stride 2, nothing beyond the edge; even height and width."""
    # Of strided slices, along one axis and then the other: three times as fast on CPUs as a window.
    for axis in (1, 2):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (1, 0)
        padded, count = jnp.pad(x, widths, constant_values=-jnp.inf), x.shape[axis]
        first, second, third = (
            jax.lax.slice_in_dim(padded, start, start + count - 1, 2, axis) for start in range(3)
        )
        x = jnp.maximum(jnp.maximum(first, second), third)
    return x


class HeadPose(nn.Module):
    """The head pose and expression estimator."""

    config: HeadPoseConfig = DEFAULT_HEAD_POSE

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> Pose:
        """Pictures (b, h, w, 3) in [0, 1], RGB -> `Pose` without scale; `train`: BatchNorm takes
        the batch's statistics."""
        config = self.config
        stem = ConvNorm(config.channels, size=7, stride=2, name="stem")
        x = stem(like_params(self, image), train=train)
        x = _max_pool(x)
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            x = ConvNorm(width, size=1, name=f"widen_{stage}")(x, train=train)
            if stage:
                x = Bottleneck(width, 2, name=f"stage_{stage}_halve")(x, train=train)
            for index in range(blocks):
                x = Bottleneck(width, name=f"stage_{stage}_{index}")(x, train=train)
        return pose_heads(x.mean((1, 2)), bins=config.bins, keypoints=config.keypoints)
