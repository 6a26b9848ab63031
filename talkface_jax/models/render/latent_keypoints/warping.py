"""A feature volume moved by keypoints, as the feature map that the decoder takes."""

import dataclasses

import flax.linen as nn
import flax.struct
import jax

from talkface_jax.models.blocks import like_params, widen
from talkface_jax.models.pair_convs import PlaneConv
from talkface_jax.models.render.latent_keypoints.dense_motion import (
    DEFAULT_MOTION,
    DenseMotion,
    DenseMotionConfig,
    DenseMotionNetwork,
)
from talkface_jax.models.render.latent_keypoints.layers import ConvNorm, as_image
from talkface_jax.models.volume_warp import sample_volume
from talkface_jax.ranges import AT_LEAST_1, ranged

_SLOPE = 0.01


@dataclasses.dataclass(frozen=True)
class WarpingConfig:
    """Sizes of the warping network; the defaults are face-vid2vid's.

    Attributes:
      motion: the dense motion network.
      width: channels of the feature map.
    """

    motion: DenseMotionConfig = DEFAULT_MOTION
    width: int = ranged(256, AT_LEAST_1)


DEFAULT_WARPING = WarpingConfig()


@flax.struct.dataclass
class Warped:
    """The feature map (b, h, w, width) and the motion that it came by."""

    features: jax.Array
    motion: DenseMotion


class Warping(nn.Module):
    """The volume moved by the dense motion, flattened, and dimmed where it is hidden."""

    config: WarpingConfig = WarpingConfig()

    @nn.compact
    def __call__(
        self, volume: jax.Array, driving: jax.Array, source: jax.Array, *, train: bool = False
    ) -> Warped:
        """Volume (b, d, h, w, c) and keypoints (b, k, 3) as `DenseMotionNetwork` takes them."""
        config = self.config
        network = DenseMotionNetwork(config.motion, name="dense_motion")
        motion = network(volume, driving, source, train=train)
        x = as_image(sample_volume(widen(volume), motion.deformation))
        third = ConvNorm(config.width, slope=_SLOPE, name="third")
        x = third(like_params(self, x), train=train)
        x = PlaneConv(config.width, 1, name="fourth")(x)
        return Warped(features=x * motion.occlusion.astype(x.dtype), motion=motion)
