"""A picture and keypoints of two poses -> the picture in the other pose.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), and its unofficial code.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax

from talkface_jax.models.render.latent_keypoints.appearance import (
    DEFAULT_APPEARANCE,
    Appearance,
    AppearanceConfig,
)
from talkface_jax.models.render.latent_keypoints.dense_motion import DenseMotion, DenseMotionConfig
from talkface_jax.models.render.latent_keypoints.spade_decoder import (
    DEFAULT_DECODER,
    SpadeDecoder,
    SpadeDecoderConfig,
)
from talkface_jax.models.render.latent_keypoints.warping import (
    DEFAULT_WARPING,
    Warping,
    WarpingConfig,
)


@dataclasses.dataclass(frozen=True)
class LatentGeneratorConfig:
    """The three networks of a generator; the defaults are the unofficial face-vid2vid's.

    Attributes:
      appearance, warping, decoder: their sizes.
    """

    appearance: AppearanceConfig = DEFAULT_APPEARANCE
    warping: WarpingConfig = DEFAULT_WARPING
    decoder: SpadeDecoderConfig = DEFAULT_DECODER


FACEVID2VID = LatentGeneratorConfig()
LIVEPORTRAIT = LatentGeneratorConfig(
    warping=WarpingConfig(motion=DenseMotionConfig(keypoints=21)),
    decoder=SpadeDecoderConfig(unfold=2),
)
"""LivePortrait's three networks, 256² to 512²."""


@flax.struct.dataclass
class Generated:
    """image (b, H, W, 3) in [0, 1] and the motion that it came by; float32."""

    image: jax.Array
    motion: DenseMotion


class LatentGenerator(nn.Module):
    """Appearance, warping and decoder in a row.

    The volume of a picture serves all frames, so `encode` and `render` are apart.
    """

    config: LatentGeneratorConfig = FACEVID2VID

    def setup(self) -> None:
        """The three networks."""
        self.appearance = Appearance(self.config.appearance)
        self.warping = Warping(self.config.warping)
        self.decoder = SpadeDecoder(self.config.decoder)

    def encode(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """The picture's volume, see `Appearance`."""
        return self.appearance(image, train=train)

    def render(
        self, volume: jax.Array, driving: jax.Array, source: jax.Array, *, train: bool = False
    ) -> Generated:
        """The frame of a volume and keypoints (b, k, 3), see `Warping`."""
        warped = self.warping(volume, driving, source, train=train)
        return Generated(image=self.decoder(warped.features), motion=warped.motion)

    def __call__(
        self, image: jax.Array, driving: jax.Array, source: jax.Array, *, train: bool = False
    ) -> Generated:
        """A picture (b, h, w, 3) in [0, 1], RGB, moved from keypoints `source` to `driving`, each
        (b, k, 3); `train`: BatchNorm takes the batch's statistics."""
        return self.render(self.encode(image, train=train), driving, source, train=train)
