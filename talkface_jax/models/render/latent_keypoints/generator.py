"""A picture and keypoints of two poses -> the picture in the other pose.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), and its unofficial code.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import halve
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
from talkface_jax.models.render.latent_keypoints.tracked import face_maps, tracked_flow
from talkface_jax.models.render.latent_keypoints.warping import (
    DEFAULT_WARPING,
    Warping,
    WarpingConfig,
)
from talkface_jax.models.warp import sample_bicubic


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
    """image (b, H, W, 3) in [0, 1] and the motion that it came by; float32. Where the picture is
    corrected, moved (b, H, W, 3) is the picture as the motion moves it."""

    image: jax.Array
    motion: DenseMotion
    moved: jax.Array | None = None


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
        self,
        volume: jax.Array,
        driving: jax.Array,
        source: jax.Array,
        image: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> Generated:
        """The frame of a volume and keypoints (b, k, 3), see `Warping`.

        `image` is the picture of the volume, (b, h, w, 3) in [0, 1], where it is corrected
        (`SpadeDecoderConfig.paint`).
        """
        warped = self.warping(volume, driving, source, train=train)
        if self.config.decoder.paint == "absolute":
            return Generated(image=self.decoder(warped.features), motion=warped.motion)
        assert image is not None
        kernels = self.config.warping.motion.kernels
        base = tracked_flow(driving, source, size=image.shape[1], config=kernels)
        moved = _moved(image, warped.motion.flow(base))
        guides = _guides(moved, driving, unfold=self.config.decoder.unfold)
        painted = self.decoder(warped.features, guides)
        return Generated(
            image=jnp.clip(moved + painted, 0.0, 1.0), motion=warped.motion, moved=moved
        )

    def __call__(
        self, image: jax.Array, driving: jax.Array, source: jax.Array, *, train: bool = False
    ) -> Generated:
        """A picture (b, h, w, 3) in [0, 1], RGB, moved from keypoints `source` to `driving`, each
        (b, k, 3); `train`: BatchNorm takes the batch's statistics."""
        return self.render(self.encode(image, train=train), driving, source, image, train=train)


def _moved(image: jax.Array, flow: jax.Array) -> jax.Array:
    """A picture (b, h, w, 3) moved by a flow in positions; its edge goes on beyond it."""
    size = image.shape[1]
    base = np.arange(size, dtype=np.float32)
    x, y = (
        jnp.clip(along + size / 2 * flow[..., axis], 0, size - 1)
        for axis, along in enumerate((base, base[:, None]))
    )
    return jnp.clip(sample_bicubic(image, x, y), 0.0, 1.0)


def _guides(moved: jax.Array, driving: jax.Array, *, unfold: int) -> list[jax.Array]:
    """The moved picture and the lines of the face at the three sizes of the decoder's blocks."""
    if unfold == 2:
        moved = halve(moved)
    fine = jnp.concatenate([2 * moved - 1, face_maps(driving, size=moved.shape[1])], -1)
    middle = halve(fine)
    return [halve(middle), middle, fine]
