"""A picture -> canonical keypoints in 3-D, by an hourglass that leaves the plane half way.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), and its unofficial code.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import like_params, widen
from talkface_jax.models.pair_convs import PlaneConv
from talkface_jax.models.render.latent_keypoints.layers import DownBlock, UpBlock, as_volume
from talkface_jax.models.volume_convs import VolumeConv
from talkface_jax.models.volume_warp import axis_grid
from talkface_jax.ranges import ABOVE_0, AT_LEAST_1, Range, ranged


@dataclasses.dataclass(frozen=True)
class KeypointDetectorConfig:
    """Sizes of the detector; the defaults are the unofficial face-vid2vid's on 256² pictures.

    Attributes:
      keypoints: how many.
      shrink: by what the picture is made smaller first.
      channels: of the hourglass, doubled at each of its levels.
      most: channels that no level exceeds.
      levels: of the hourglass, each of half the height and width.
      volume_channels, depth: of the volume at its bottom.
      temperature: of the softmax over positions.
    """

    keypoints: int = ranged(15, AT_LEAST_1)
    shrink: int = ranged(4, AT_LEAST_1)
    channels: int = ranged(32, AT_LEAST_1)
    most: int = ranged(1024, AT_LEAST_1)
    levels: int = ranged(5, AT_LEAST_1)
    volume_channels: int = ranged(1024, AT_LEAST_1)
    depth: int = ranged(16, Range(least=2))
    temperature: float = ranged(0.1, ABOVE_0)


DEFAULT_DETECTOR = KeypointDetectorConfig()


def antialias_weights(shrink: int) -> np.ndarray:
    """Weights (n,), of sum 1, of the Gaussian that a picture is smoothed with before it is made
    smaller; deviation (shrink - 1) / 2."""
    deviation = (shrink - 1) / 2
    reach = round(4 * deviation)
    weights = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * deviation**2))
    return (weights / weights.sum()).astype(np.float32)


def shrink_smoothed(image: jax.Array, shrink: int) -> jax.Array:
    """Every `shrink`-th pixel of a smoothed (b, h, w, c), zero outside, the first pixel kept."""
    if shrink == 1:
        return image
    weights = antialias_weights(shrink)
    b, h, w, c = image.shape
    x = image.transpose(0, 3, 1, 2).reshape(b * c, h, w, 1)
    pad, count = len(weights) // 2, len(weights)
    for axis in (0, 1):
        shape, stride, padding = [1, 1], [1, 1], [(0, 0), (0, 0)]
        shape[axis], stride[axis], padding[axis] = count, shrink, (pad, pad)
        x = jax.lax.conv_general_dilated(
            x,
            jnp.asarray(weights.reshape(*shape, 1, 1), x.dtype),
            stride,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    return x.reshape(b, c, *x.shape[1:3]).transpose(0, 2, 3, 1)


def expected_positions(logits: jax.Array) -> jax.Array:
    """Means (b, k, 3), x before y before z in [-1, 1], of the softmax over the places of maps
    (b, d, h, w, k)."""
    size = logits.shape[1:4]
    share = nn.softmax(widen(logits), axis=(1, 2, 3))
    others = ((1, 2), (1, 3), (2, 3))
    means = [
        jnp.einsum(
            "bnk,n->bk",
            share.sum(others[axis]),
            axis_grid(size[2 - axis]),
            precision=jax.lax.Precision.HIGHEST,
        )
        for axis in range(3)
    ]
    return jnp.stack(means, -1)


class KeypointDetector(nn.Module):
    """The canonical keypoint detector."""

    config: KeypointDetectorConfig = DEFAULT_DETECTOR

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """The keypoints of a picture, as they are without pose and expression.

        Args:
          image: (b, h, w, 3) in [0, 1], RGB; h and w multiples of shrink · 2**levels.
          train: whether BatchNorm takes the batch's statistics.

        Returns:
          (b, keypoints, 3), float32, x before y before z in [-1, 1].
        """
        config = self.config
        x = like_params(self, shrink_smoothed(image, config.shrink))
        widths = [min(config.most, config.channels * 2**n) for n in range(config.levels + 1)]
        for index, width in enumerate(widths[1:]):
            x = DownBlock(width, name=f"down_{index}")(x, train=train)
        x = PlaneConv(config.volume_channels * config.depth, 1, name="bottom")(x)
        x = as_volume(x, config.depth)
        for index, width in enumerate(reversed(widths[:-1])):
            x = UpBlock(width, name=f"up_{index}")(x, train=train)
        logits = VolumeConv(config.keypoints, 3, name="logits")(x)
        return expected_positions(widen(logits) / config.temperature)
