"""Keypoints of two poses and a feature volume -> where every voxel comes from, and what is hidden.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), section 3.2: per keypoint the volume moved as
that keypoint moves, weighed against each other by masks. As in both public generators without
Jacobians, so that a keypoint's motion is a shift.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import batch_norm, like_params, widen
from talkface_jax.models.render.latent_keypoints.layers import (
    ConvNorm,
    DownBlock,
    UpBlock,
    as_image,
)
from talkface_jax.models.render.latent_keypoints.tracked import tracked_flow
from talkface_jax.models.render.point_flow import DEFAULT_FLOW, PointFlowConfig
from talkface_jax.models.volume_convs import VolumeConv
from talkface_jax.models.volume_warp import Size, axis_grid, corner_grid, sample_shifted
from talkface_jax.ranges import ABOVE_0, AT_LEAST_1, Range, ranged

_EXACT = jax.lax.Precision.HIGHEST
RATE = 60.0
"""Of the share of the flow by tracked keypoints to its parameter: Adam moves this one number as
fast as it needs."""
_HELD, _VISIBLE, _CALM = 8.0, 2.0, 0.05
"""Logits of the base over the keypoints' own motions and of what is visible, and how slowly both
learn: one step of training moves a logit by as much as all inputs of its convolution together."""


@dataclasses.dataclass(frozen=True)
class DenseMotionConfig:
    """Sizes of the dense motion network; the defaults are face-vid2vid's on 256² pictures.

    Attributes:
      keypoints: 15; LivePortrait has 21.
      compress: channels of the volume that is moved.
      channels: of the hourglass at full size, doubled at each of its levels.
      most: channels that no level exceeds.
      levels: of the hourglass, each of half the height and width.
      kernel: of the convolutions that make masks and occlusion.
      variance: of the keypoints' Gaussians, in squared positions.
      base: what is where no keypoint's motion is: "nothing", no motion, as published; or
        "tracked", for tracked keypoints, the flow by them alone, of which a learned share is taken,
        none at the start. Ours.
      kernels: of that flow.
      masked: positions of the keypoints that have a motion of their own; none for all, as
        published. Ours: of many tracked keypoints few are enough beside the flow.
    """

    keypoints: int = ranged(15, AT_LEAST_1)
    compress: int = ranged(4, AT_LEAST_1)
    channels: int = ranged(32, AT_LEAST_1)
    most: int = ranged(1024, AT_LEAST_1)
    levels: int = ranged(5, AT_LEAST_1)
    kernel: int = ranged(7, Range(least=1, parity="odd"))
    variance: float = ranged(0.01, ABOVE_0)
    base: Literal["nothing", "tracked"] = "nothing"
    kernels: PointFlowConfig = DEFAULT_FLOW
    masked: tuple[int, ...] = ()


DEFAULT_MOTION = DenseMotionConfig()


@flax.struct.dataclass
class DenseMotion:
    """deformation (b, d, h, w, 3): positions, x before y before z, that each voxel is read at;
    mask (b, d, h, w, masked + 1), the background first, of sum 1; occlusion (b, h, w, 1), 1 is
    visible; share, of the flow by tracked keypoints where that is the base; float32."""

    deformation: jax.Array
    mask: jax.Array
    occlusion: jax.Array
    share: jax.Array | None = None

    def flow(self, base: jax.Array) -> jax.Array:
        """The motion seen from the front, over pixels.

        Args:
          base: the flow by the keypoints, (b, s, s, 2) in positions; s is a multiple of h and w.

        Returns:
          (b, s, s, 2), x before y, in positions: the deformation without its share of that flow,
          made larger, and that share of `base` itself, which is finer.
        """
        size = self.mask.shape[2]
        held = self.mask[..., :1].mean(1)
        coarse = base.reshape(
            base.shape[0], size, base.shape[1] // size, size, base.shape[1] // size, 2
        )
        own = (self.deformation - corner_grid(self.mask.shape[1:4]))[..., :2].mean(1)
        assert self.share is not None
        own = own - held * self.share * coarse.mean((2, 4))
        larger = (base.shape[0], *base.shape[1:3])
        own, held = (jax.image.resize(x, (*larger, x.shape[-1]), "bilinear") for x in (own, held))
        return own + held * self.share * base


class VolumeHourglass(nn.Module):
    """Encoder and decoder of volumes with skips at every level, the input's own included."""

    channels: int
    most: int
    levels: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, d, h, w, c) -> (b, d, h, w, channels + c)."""
        widths = [min(self.most, self.channels * 2**level) for level in range(self.levels + 1)]
        skips = [x]
        for level, width in enumerate(widths[1:]):
            skips.append(DownBlock(width, 3, name=f"down_{level}")(skips[-1], train=train))
        x = skips.pop()
        for index, width in enumerate(reversed(widths[:-1])):
            x = UpBlock(width, name=f"up_{index}")(x, train=train)
            x = jnp.concatenate([x, skips.pop()], -1)
        return ConvNorm(x.shape[-1], 3, name="last")(x, train=train)


def keypoint_heatmaps(points: jax.Array, *, size: Size, variance: float) -> jax.Array:
    """Gaussians of keypoints (b, k, 3), x before y before z, on `corner_grid`: (b, d, h, w, k)."""

    def axis(number: int, count: int) -> jax.Array:
        offset = axis_grid(count)[:, None] - points[:, None, :, number]
        return jnp.exp(-0.5 / variance * jnp.square(offset))

    z, y, x = (axis(2 - index, count) for index, count in enumerate(size))
    return z[:, :, None, None] * y[:, None, :, None] * x[:, None, None]


class DenseMotionNetwork(nn.Module):
    """Masks over the background and the keypoints' motions, and the occlusion."""

    config: DenseMotionConfig = DenseMotionConfig()

    @nn.compact
    def __call__(
        self, volume: jax.Array, driving: jax.Array, source: jax.Array, *, train: bool = False
    ) -> DenseMotion:
        """The motion from `source` to `driving`.

        Args:
          volume: appearance (b, d, h, w, c); h and w are multiples of 2**levels.
          driving, source: keypoints (b, keypoints, 3), x before y before z, in [-1, 1].
          train: whether BatchNorm takes the batch's statistics.
        """
        config = self.config
        driving, source = (jnp.asarray(x, jnp.float32) for x in (driving, source))
        x = VolumeConv(config.compress, 1, name="compress")(like_params(self, volume))
        x = nn.relu(batch_norm(train=train, name="compress_norm")(x))
        own = list(config.masked) or slice(None)
        x = self._seen(x, driving[:, own], source[:, own])
        hourglass = VolumeHourglass(config.channels, config.most, config.levels, name="hourglass")
        x = hourglass(like_params(self, x), train=train)
        logits = widen(VolumeConv(driving[:, own].shape[1] + 1, config.kernel, name="mask")(x))
        tracked = config.base == "tracked"
        if tracked:
            # Fresh masks would be equal shares of motions that the base has in their places.
            logits = (_CALM * logits).at[..., 0].add(_HELD)
        mask = nn.softmax(logits)
        # The background stays; the masks sum to 1, so that each keypoint adds its share of a shift.
        shifts = (source - driving)[:, own]
        moved = jnp.einsum("bdhwk,bkc->bdhwc", mask[..., 1:], shifts, precision=_EXACT)
        share = None
        if tracked:
            share = RATE * widen(self.param("share", nn.initializers.zeros, ()))
            size = volume.shape[2]
            flow = tracked_flow(driving, source, size=size, config=config.kernels)
            by_points = mask[..., :1] * share * flow[:, None]
            moved = moved + jnp.pad(by_points, ((0, 0),) * 4 + ((0, 1),))
        square = (config.kernel, config.kernel)
        hidden = widen(nn.Conv(1, square, name="occlusion")(as_image(x)))
        if tracked:
            # What tells the decoder nothing yet would be taken for hidden, once and for all.
            hidden = _CALM * hidden + _VISIBLE
        return DenseMotion(
            deformation=moved + corner_grid(volume.shape[1:4]),
            mask=mask,
            occlusion=nn.sigmoid(hidden),
            share=share,
        )

    def _seen(self, x: jax.Array, driving: jax.Array, source: jax.Array) -> jax.Array:
        """What the hourglass sees, (b, d, h, w, (k + 1)·(1 + compress)): for the background and for
        each keypoint the change of its Gaussian and the volume moved as it moves."""
        size, variance = x.shape[1:4], self.config.variance
        target, origin = (
            keypoint_heatmaps(points, size=size, variance=variance) for points in (driving, source)
        )
        change = jnp.pad(target - origin, ((0, 0),) * 4 + ((1, 0),))
        shifts = jnp.pad(source - driving, ((0, 0), (1, 0), (0, 0)))
        moved = sample_shifted(widen(x), shifts)
        both = jnp.concatenate([change[..., None], moved], -1)
        return both.reshape(*both.shape[:4], -1)
