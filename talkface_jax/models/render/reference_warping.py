"""IP-LAP's renderer: warped reference frames, a half-masked face and a sketch become a talking
face.

Source: Zhong et al., CVPR 2023 (arXiv 2305.08293), section 3.3, and the released code. The design
"mouth" is ours, for small networks.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import (
    ConvStack,
    ModulatedBlock,
    batch_norm,
    instance_norm,
    like_params,
    mel_specs,
    pixel_shuffle,
    widen,
)
from talkface_jax.models.render.landmark_flow import DEFAULT_KERNELS, LandmarkFlowConfig
from talkface_jax.models.render.mouth_detail import (
    LandmarkAlignment,
    MouthAligned,
    MouthReferences,
    MouthTranslation,
)
from talkface_jax.models.warp import Grid, sampling_grid, warp_by_grid
from talkface_jax.ranges import AT_LEAST_1, Range, ranged

_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class ReferenceWarpingConfig:
    """Sizes of the renderer; the defaults are the published network (18,963,235 parameters).

    Attributes:
      size: height and width of the crop, a multiple of 4.
      channels: features at full size; deep: at half size, a multiple of 4.
      kernel: outer convolutions.
      sketch_channels: of the 3 channels of a sketch, which are equal, how many are used.
      spade_hidden: shared layer of a SPADE modulation.
      weight_hidden: hidden layer of the reference weights.
      audio_width: audio embedding; audio_hidden: shared layer of an AdaIN modulation.
      mel_channels: the mel encoder's four widths before `audio_width`.
      grid: sampling convention, see `models.warp.Grid`.
      design: "published", or "mouth": the networks of `mouth_detail`, which read size, channels,
        deep, sketch_channels, audio_width, grid, prior and window alone.
      prior: kernels of the landmark flow that the design "mouth" starts from.
      window: side of the square about the lips that the design "mouth" draws, in pixels, a multiple
        of 4 and at most size.
    """

    size: int = ranged(128, Range(least=4, parity="even"))
    channels: int = ranged(32, AT_LEAST_1)
    deep: int = ranged(256, AT_LEAST_1)
    kernel: int = ranged(7, Range(least=1, parity="odd"))
    sketch_channels: int = ranged(3, Range(least=1, most=3))
    spade_hidden: int = ranged(256, AT_LEAST_1)
    weight_hidden: int = ranged(32, AT_LEAST_1)
    audio_width: int = ranged(512, AT_LEAST_1)
    audio_hidden: int = ranged(128, AT_LEAST_1)
    mel_channels: tuple[int, int, int, int] = ranged((32, 64, 128, 256), AT_LEAST_1)
    grid: Grid = "released"
    design: Literal["published", "mouth"] = "published"
    prior: LandmarkFlowConfig = DEFAULT_KERNELS
    window: int = ranged(64, AT_LEAST_1)


SMALL = ReferenceWarpingConfig(
    design="mouth", channels=24, deep=64, sketch_channels=1, audio_width=16, grid="aligned"
)
"""Trains on a CPU in minutes: the landmarks move the references, the network redraws the mouth."""


@flax.struct.dataclass
class RefFeatures:
    """What depends on the references alone; constant over a clip.

    images (b, r, h, w, 3); shallow (b, r, h, w, channels); deep (b, r, h/2, w/2, deep), and
    normalised, the same after the alignment network's first instance norm.
    """

    images: jax.Array
    shallow: jax.Array
    deep: jax.Array
    normalised: jax.Array


@flax.struct.dataclass
class Aligned:
    """The references moved onto the target and averaged.

    image (b, h, w, 3); shallow (b, h, w, channels); deep (b, h/2, w/2, deep); per reference flow
    (b, r, h, w, 2) in pixels, x before y, and weight (b, r, h, w, 1) in [0, 1].
    """

    image: jax.Array
    shallow: jax.Array
    deep: jax.Array
    flow: jax.Array
    weight: jax.Array


@flax.struct.dataclass
class Rendered:
    """image (b, h, w, 3): the face in [0, 1]; aligned: what it was made from."""

    image: jax.Array
    aligned: Aligned | MouthAligned


def _stack_frames(sketches: jax.Array) -> jax.Array:
    """(b, t, h, w, c) -> (b, h, w, t*c), frames before colours."""
    b, t, h, w, c = sketches.shape
    return sketches.transpose(0, 2, 3, 1, 4).reshape(b, h, w, t * c)


def _fold(x: jax.Array) -> jax.Array:
    return x.reshape(-1, *x.shape[2:])


class Stem(nn.Module):
    """Two convolutions with BatchNorm: full size, then half."""

    channels: int
    deep: int
    kernel: int
    use_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """(b, h, w, any) -> (b, h, w, channels) and (b, h/2, w/2, deep)."""
        pad = self.kernel // 2
        kernel = (self.kernel, self.kernel)
        shallow = nn.Conv(self.channels, kernel, 1, pad, use_bias=self.use_bias, name="conv_1")(x)
        shallow = nn.relu(batch_norm(train=train, name="norm_1")(shallow))
        deep = nn.Conv(self.deep, (3, 3), 2, 1, use_bias=self.use_bias, name="conv_2")(shallow)
        return shallow, nn.relu(batch_norm(train=train, name="norm_2")(deep))


class Alignment(nn.Module):
    """Predicts, for every reference, a flow onto the target's sketch and a weight."""

    config: ReferenceWarpingConfig

    def setup(self) -> None:
        """References are a batch axis; the sketch's modulation is computed once for all of them."""
        config = self.config
        self.stem = Stem(config.channels, config.deep, config.kernel, True)
        self.spade_1 = ModulatedBlock(config.deep, config.spade_hidden, "spade")
        self.spade_2 = ModulatedBlock(config.deep, config.spade_hidden, "spade")
        self.spade_3 = ModulatedBlock(config.deep // 4, config.spade_hidden, "spade")
        kernel, pad = (config.kernel, config.kernel), config.kernel // 2
        self.flow = nn.Conv(2, kernel, 1, pad)
        self.weight_hidden = nn.Conv(config.weight_hidden, kernel, 1, pad)
        self.weight = nn.Conv(1, kernel, 1, pad)

    def encode(self, images: jax.Array, sketches: jax.Array, *, train: bool) -> RefFeatures:
        """images (b, r, h, w, 3) and their sketches (b, r, h, w, c)."""
        used = sketches[..., : self.config.sketch_channels]
        both = like_params(self, jnp.concatenate([images, used], -1))
        shallow, deep = self.stem(_fold(both), train=train)
        lead = images.shape[:2]
        return RefFeatures(
            images=images,
            shallow=shallow.reshape(*lead, *shallow.shape[1:]),
            deep=deep.reshape(*lead, *deep.shape[1:]),
            normalised=instance_norm(deep).reshape(*lead, *deep.shape[1:]),
        )

    def predict(self, references: RefFeatures, sketch: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Flow (b*r, h, w, 2) in pixels and weight logit (b*r, h, w, 1)."""
        sketch = like_params(self, sketch)
        half = sketch[:, ::2, ::2]
        x = _fold(references.normalised)
        x = self.spade_1.body_of_normalised(x, self.spade_1.modulation(half))
        x = self.spade_2.body(x, self.spade_2.modulation(half))
        x = pixel_shuffle(x)
        x = self.spade_3.body(x, self.spade_3.modulation(sketch))
        flow, logit = self.flow(x), self.weight(nn.relu(self.weight_hidden(x)))
        # Eight bits of mantissa are not enough for positions.
        return widen(flow), widen(logit)

    def __call__(self, references: RefFeatures, sketch: jax.Array) -> Aligned:
        """Warps image and features of every reference and averages them by the weights."""
        config, lead = self.config, references.images.shape[:2]
        flow, logit = self.predict(references, sketch)
        weight = nn.sigmoid(logit)
        positions = sampling_grid(flow, grid=config.grid)
        total = weight.reshape(*lead, *weight.shape[1:]).sum(1) + _EPSILON

        def average(x: jax.Array, weight: jax.Array, total: jax.Array) -> jax.Array:
            moved = warp_by_grid(_fold(x), positions) * weight
            return (moved.reshape(*lead, *moved.shape[1:]).sum(1) / total).astype(x.dtype)

        return Aligned(
            image=average(references.images, weight, total),
            shallow=average(references.shallow, weight, total),
            deep=average(references.deep, weight[:, ::2, ::2], total[:, ::2, ::2]),
            flow=flow.reshape(*lead, *flow.shape[1:]),
            weight=weight.reshape(*lead, *weight.shape[1:]),
        )


class Translation(nn.Module):
    """Draws the face from masked face, sketches, aligned references and audio."""

    config: ReferenceWarpingConfig

    def setup(self) -> None:
        """Parameter names follow the order of use."""
        config = self.config
        deep, fine, hidden = config.deep, config.deep // 4, config.spade_hidden
        self.stem = Stem(config.channels, deep, config.kernel, False)
        self.audio_encoder = ConvStack(
            mel_specs(config.mel_channels, config.audio_width, activation="relu")
        )
        self.spade_1 = ModulatedBlock(deep, hidden, "spade")
        self.adain_1 = ModulatedBlock(deep, config.audio_hidden, "adain")
        self.spade_2 = ModulatedBlock(fine, hidden, "spade")
        self.adain_2 = ModulatedBlock(fine, config.audio_hidden, "adain")
        self.spade_3 = ModulatedBlock(fine, hidden, "spade")
        kernel = (config.kernel, config.kernel)
        self.to_rgb = nn.Conv(3, kernel, 1, config.kernel // 2, use_bias=False)

    def __call__(
        self,
        masked_face: jax.Array,
        sketch: jax.Array,
        aligned: Aligned,
        mel: jax.Array,
        *,
        train: bool,
    ) -> jax.Array:
        """(b, h, w, 3) in [0, 1]."""
        audio = self.audio_encoder(like_params(self, mel[..., None]), train=train)
        given = like_params(self, jnp.concatenate([masked_face, sketch], -1))
        _, x = self.stem(given, train=train)
        x = self.adain_1(self.spade_1(x, aligned.deep), audio)
        x = pixel_shuffle(x)
        x = self.adain_2(self.spade_2(x, aligned.shallow), audio)
        x = widen(self.to_rgb(nn.leaky_relu(self.spade_3(x, aligned.image), 0.01)))
        return nn.sigmoid(x)


class ReferenceWarping(nn.Module):
    """The renderer. Per clip: `encode_references`; per frame: `align`, then `translate`."""

    config: ReferenceWarpingConfig = ReferenceWarpingConfig()

    def setup(self) -> None:
        """The two halves that the paper trains together."""
        config = self.config
        if config.design == "published":
            self.alignment, self.translation = Alignment(config), Translation(config)
            return
        self.alignment = LandmarkAlignment(config.size, config.grid, config.prior)
        self.translation = MouthTranslation(
            config.window, config.channels, config.deep, config.audio_width
        )

    def _target(self, sketches: jax.Array) -> jax.Array:
        return _stack_frames(sketches[..., : self.config.sketch_channels])

    def encode_references(
        self, images: jax.Array, sketches: jax.Array, *, train: bool = False
    ) -> RefFeatures | MouthReferences:
        """images (b, r, h, w, 3) in [0, 1] and sketches (b, r, h, w, c): everything that does not
        depend on the target."""
        if isinstance(self.alignment, LandmarkAlignment):
            return MouthReferences(images)
        return self.alignment.encode(images, sketches, train=train)

    def align(
        self,
        references: RefFeatures | MouthReferences,
        sketches: jax.Array,
        *,
        points: jax.Array | None = None,
        reference_points: jax.Array | None = None,
    ) -> Aligned | MouthAligned:
        """Moves the references onto the target sketches (b, 5, h, w, c), centred on the frame.

        Points (b, 131, 2) of the centre frame and reference_points (b, r, 131, 2), in [0, 1], are
        needed where `config.design` is "mouth".
        """
        if isinstance(self.alignment, LandmarkAlignment):
            if points is None or reference_points is None:
                raise ValueError("the design 'mouth' needs points and reference_points")
            assert isinstance(references, MouthReferences)
            return self.alignment(references, points, reference_points)
        assert isinstance(references, RefFeatures)
        return self.alignment(references, self._target(sketches))

    def translate(
        self,
        masked_face: jax.Array,
        sketches: jax.Array,
        aligned: Aligned | MouthAligned,
        mel: jax.Array,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Draws the frame (b, h, w, 3) in [0, 1].

        masked_face: (b, h, w, 3), the target frame with its lower half zeroed; sketches:
        (b, 5, h, w, c); mel: (b, 80, 16), the window of the centre frame. In training the batch
        must hold at least two items, for the audio encoder's BatchNorm.
        """
        sketch = self._target(sketches)
        if isinstance(self.translation, MouthTranslation):
            assert isinstance(aligned, MouthAligned)
            return self.translation(masked_face, sketch, aligned, mel)
        assert isinstance(aligned, Aligned)
        return self.translation(masked_face, sketch, aligned, mel, train=train)

    def __call__(
        self,
        masked_face: jax.Array,
        sketches: jax.Array,
        reference_images: jax.Array,
        reference_sketches: jax.Array,
        mel: jax.Array,
        *,
        points: jax.Array | None = None,
        reference_points: jax.Array | None = None,
        train: bool = False,
    ) -> Rendered:
        """All three steps; arguments as there."""
        references = self.encode_references(reference_images, reference_sketches, train=train)
        aligned = self.align(references, sketches, points=points, reference_points=reference_points)
        image = self.translate(masked_face, sketches, aligned, mel, train=train)
        return Rendered(image=image, aligned=aligned)
