"""IP-LAP's renderer: warped reference frames, a half-masked face and a sketch become a talking
face.

Source: Zhong et al., CVPR 2023 (arXiv 2305.08293), section 3.3, and the released code. The landmark
flow prior, the coarse flow and the residual output are ours, for small networks.
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
    double,
    instance_norm,
    like_params,
    mel_specs,
    pixel_shuffle,
    widen,
)
from talkface_jax.models.render.landmark_flow import (
    DEFAULT_KERNELS,
    LandmarkFlowConfig,
    landmark_flow,
)
from talkface_jax.models.warp import Grid, sampling_grid, warp_by_grid
from talkface_jax.ranges import AT_LEAST_1, Range, ranged

_EPSILON = 1e-5
_NEAR_ZERO = nn.initializers.normal(1e-3)


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
      flow_size: size at which flow and weights are predicted; "half" leaves out the alignment
        network's last stage and upsamples.
      flow_prior: "landmarks" starts from `landmark_flow`, so that the network predicts a
        correction.
      prior: kernels of the landmark flow.
      output: "absolute" as published, or a "residual" on the given upper half and the warped lower
        half.
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
    flow_size: Literal["full", "half"] = "full"
    flow_prior: Literal["none", "landmarks"] = "none"
    prior: LandmarkFlowConfig = DEFAULT_KERNELS
    output: Literal["absolute", "residual"] = "absolute"


SMALL = ReferenceWarpingConfig(
    channels=8,
    deep=24,
    kernel=5,
    sketch_channels=1,
    spade_hidden=16,
    weight_hidden=8,
    audio_width=64,
    audio_hidden=32,
    mel_channels=(8, 16, 32, 48),
    grid="aligned",
    flow_size="half",
    flow_prior="landmarks",
    output="residual",
)
"""Trains on a CPU; the flow prior does what the width cannot."""


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
    aligned: Aligned


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
        if config.flow_size == "full":
            self.spade_3 = ModulatedBlock(config.deep // 4, config.spade_hidden, "spade")
        initial = nn.initializers.lecun_normal() if config.flow_prior == "none" else _NEAR_ZERO
        kernel, pad = (config.kernel, config.kernel), config.kernel // 2
        self.flow = nn.Conv(2, kernel, 1, pad, kernel_init=initial)
        self.weight_hidden = nn.Conv(config.weight_hidden, kernel, 1, pad)
        self.weight = nn.Conv(1, kernel, 1, pad, kernel_init=initial)

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
        """Flow (b*r, h, w, 2) in pixels and weight logit (b*r, h, w, 1), without any prior."""
        sketch = like_params(self, sketch)
        half = sketch[:, ::2, ::2]
        x = _fold(references.normalised)
        x = self.spade_1.body_of_normalised(x, self.spade_1.modulation(half))
        x = self.spade_2.body(x, self.spade_2.modulation(half))
        if self.config.flow_size == "full":
            x = pixel_shuffle(x)
            x = self.spade_3.body(x, self.spade_3.modulation(sketch))
        flow, logit = self.flow(x), self.weight(nn.relu(self.weight_hidden(x)))
        # Eight bits of mantissa are not enough for positions.
        flow, logit = widen(flow), widen(logit)
        return (flow, logit) if self.config.flow_size == "full" else (double(flow), double(logit))

    def __call__(
        self,
        references: RefFeatures,
        sketch: jax.Array,
        points: jax.Array | None,
        reference_points: jax.Array | None,
    ) -> Aligned:
        """Warps image and features of every reference and averages them by the weights."""
        config, lead = self.config, references.images.shape[:2]
        flow, logit = self.predict(references, sketch)
        if config.flow_prior == "landmarks":
            if points is None or reference_points is None:
                raise ValueError("flow_prior 'landmarks' needs points and reference_points")
            prior = landmark_flow(points, reference_points, size=config.size, config=config.prior)
            flow = flow + _fold(prior.flow)
            logit = logit + prior.logit.reshape(-1, 1, 1, 1)
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
        self.to_rgb = nn.Conv(
            3,
            (config.kernel, config.kernel),
            1,
            config.kernel // 2,
            use_bias=False,
            kernel_init=(
                nn.initializers.lecun_normal() if config.output == "absolute" else _NEAR_ZERO
            ),
        )

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
        if self.config.output == "residual":
            half = masked_face.shape[1] // 2
            base = jnp.concatenate([masked_face[:, :half], aligned.image[:, half:]], 1)
            # Below 2 % and above 98 % the logit is so steep that the correction would have no grip.
            base = jnp.clip(base, 0.02, 0.98)
            x = x + jnp.log(base) - jnp.log1p(-base)
        return nn.sigmoid(x)


class ReferenceWarping(nn.Module):
    """The renderer. Per clip: `encode_references`; per frame: `align`, then `translate`."""

    config: ReferenceWarpingConfig = ReferenceWarpingConfig()

    def setup(self) -> None:
        """The two halves that the paper trains together."""
        self.alignment = Alignment(self.config)
        self.translation = Translation(self.config)

    def _target(self, sketches: jax.Array) -> jax.Array:
        return _stack_frames(sketches[..., : self.config.sketch_channels])

    def encode_references(
        self, images: jax.Array, sketches: jax.Array, *, train: bool = False
    ) -> RefFeatures:
        """images (b, r, h, w, 3) in [0, 1] and sketches (b, r, h, w, c): everything that does not
        depend on the target."""
        return self.alignment.encode(images, sketches, train=train)

    def align(
        self,
        references: RefFeatures,
        sketches: jax.Array,
        *,
        points: jax.Array | None = None,
        reference_points: jax.Array | None = None,
    ) -> Aligned:
        """Moves the references onto the target sketches (b, 5, h, w, c), centred on the frame.

        Points (b, 131, 2) of the centre frame and reference_points (b, r, 131, 2), in [0, 1], are
        needed where `config.flow_prior` is "landmarks".
        """
        return self.alignment(references, self._target(sketches), points, reference_points)

    def translate(
        self,
        masked_face: jax.Array,
        sketches: jax.Array,
        aligned: Aligned,
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
