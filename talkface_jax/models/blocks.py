"""Layers shared by motion and render networks.

Arrays are channels-last: images (b, h, w, c), point sequences (b, n, c). Normalisation constants
and the order of operations follow PyTorch's, so that public weights carry over.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.linear_convs import Affine, ConvWeights, chained_conv

EPSILON = 1e-5
BATCH_MOMENTUM = 0.9

Activation = Literal["relu", "tanh", "none"]
_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "none": lambda x: x,
}


def like_params(module: nn.Module, x: jax.Array) -> jax.Array:
    """x in the number format of a bound module's parameters.

    A network computes in the format of its parameters: who casts them to bfloat16 gets bfloat16
    arithmetic. Statistics of normalisations, positions and results stay float32.
    """
    leaves = jax.tree.leaves(module.variables.get("params", {}))
    return x.astype(leaves[0].dtype) if leaves else x


def widen(x: jax.Array) -> jax.Array:
    """x in float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def normalise_features(module: nn.Module, x: jax.Array) -> jax.Array:
    """Speech features (…, f) less their mean, over their deviation.

    Both (f,) are variables of the bound module in "constants", `feature_mean` and
    `feature_deviation`; `Task.fitted` gives them. 0 and 1 where nothing is fitted.
    """
    features = x.shape[-1:]
    mean = module.variable("constants", "feature_mean", jnp.zeros, features)
    deviation = module.variable("constants", "feature_deviation", jnp.ones, features)
    return (x - mean.value) / deviation.value


def unit(image: jax.Array) -> jax.Array:
    """Bytes as float32 in [0, 1]."""
    return image.astype(jnp.float32) / 255.0


def instance_norm(x: jax.Array) -> jax.Array:
    """Normalises every channel of every image of (b, h, w, c) to mean 0 and variance 1."""
    wide = widen(x)
    mean = jnp.mean(wide, axis=(1, 2), keepdims=True)
    centred = wide - mean
    variance = jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True)
    return (centred * jax.lax.rsqrt(variance + EPSILON)).astype(x.dtype)


def batch_norm(*, train: bool, name: str | None = None) -> nn.BatchNorm:
    """BatchNorm with PyTorch's constants; its running statistics are updated when `train`."""
    return nn.BatchNorm(
        use_running_average=not train, momentum=BATCH_MOMENTUM, epsilon=EPSILON, name=name
    )


def conv(features: int, *, size: int, stride: int = 1, name: str | None = None) -> nn.Conv:
    """A square 2-D convolution that keeps the size at stride 1 (odd `size`)."""
    pad = size // 2
    return nn.Conv(features, (size, size), (stride, stride), [(pad, pad), (pad, pad)], name=name)


def pixel_shuffle(x: jax.Array) -> jax.Array:
    """(b, h, w, 4c) -> (b, 2h, 2w, c); input channel 4c + 2dy + dx goes to place (dy, dx)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // 4, 2, 2)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


def fold(x: jax.Array, side: int) -> jax.Array:
    """Squares of `side` pixels, 1 or 2, become channels: (b, h, w, c) -> (b, h/side, w/side,
    side² c); `unfold` undoes it."""
    if side == 1:
        return x
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def unfold(x: jax.Array, side: int) -> jax.Array:
    """(b, h, w, side² c) -> (b, side h, side w, c), the inverse of `fold`."""
    return x if side == 1 else pixel_shuffle(x)


def halve(x: jax.Array) -> jax.Array:
    """Bilinear resize of (b, h, w, c) to half the size, pixel centres aligned: 2x2 means."""
    # Summed in PyTorch's order, so that sampling positions round as the released code's do.
    upper, lower = x[:, ::2], x[:, 1::2]
    pairs = (upper[:, :, ::2], upper[:, :, 1::2], lower[:, :, ::2], lower[:, :, 1::2])
    return (pairs[0] + pairs[1] + pairs[2] + pairs[3]) / 4


def double(x: jax.Array) -> jax.Array:
    """Bilinear resize of (b, h, w, c) to twice the size, pixel centres aligned, edges kept."""
    for axis in (1, 2):
        size = x.shape[axis]
        first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
        last = jax.lax.slice_in_dim(x, size - 1, size, axis=axis)
        before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
        pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def sinusoid(length: int, width: int) -> np.ndarray:
    """Position encoding (length, width): sines in even channels, cosines in odd ones (Vaswani
    2017)."""
    rate = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    angle = np.arange(length)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, width).astype(np.float32)


class Dropout(nn.Module):
    """Dropout whose rate is rounded to 1/256; kept entries are scaled so that the mean stays exact.

    It draws 8 random bits an entry where `nn.Dropout` draws 32, which is a third of a small
    network's step on a CPU.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """x, with a `rate` of its entries zeroed when `train` (rng "dropout")."""
        kept = round(256 * (1 - self.rate))
        if not train or kept == 256:
            return x
        words = jax.random.bits(self.make_rng("dropout"), (*x.shape[:-1], -(-x.shape[-1] // 4)))
        # Asking for uint8 directly would still generate 32 bits an entry.
        octets = jax.lax.bitcast_convert_type(words, jnp.uint8)
        octets = octets.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]]
        return jnp.where(octets < kept, x * (256 / kept), 0)


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """One `ConvBlock`: `kernel` and `stride` per axis, zero padding `pad` on every side."""

    features: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: int
    residual: bool = False
    activation: Activation = "relu"


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, the input added where `spec.residual`, activation."""

    spec: ConvSpec

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, *space, c) -> (b, *smaller space, features)."""
        spec = self.spec
        padding = [(spec.pad, spec.pad)] * len(spec.kernel)
        y = nn.Conv(spec.features, spec.kernel, spec.stride, padding, name="conv")(x)
        y = batch_norm(train=train, name="norm")(y)
        return _ACTIVATIONS[spec.activation](y + x if spec.residual else y)


class ResidualBlock(nn.Module):
    """3x3 convolution, instance norm, ReLU, 3x3 convolution, instance norm; the input added."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, h, w, features) -> the same shape."""
        y = nn.relu(instance_norm(conv(self.features, size=3, name="conv_1")(x)))
        return x + instance_norm(conv(self.features, size=3, name="conv_2")(y))


class ConvStack(nn.Module):
    """`ConvBlock`s in a row that end at one place: (b, *space, c) -> (b, features)."""

    specs: tuple[ConvSpec, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Embeds each of the b inputs."""
        for index, spec in enumerate(self.specs):
            x = ConvBlock(spec, name=f"block_{index}")(x, train=train)
        return x.reshape(x.shape[0], -1)


def mel_specs(
    channels: tuple[int, int, int, int], width: int, *, activation: Activation
) -> tuple[ConvSpec, ...]:
    """The mel encoder that IP-LAP shares with Wav2Lip: (b, 80, 16, 1) -> (b, width)."""

    def block(
        features: int, stride: tuple[int, int] = (1, 1), *, residual: bool = False
    ) -> ConvSpec:
        return ConvSpec(features, (3, 3), stride, 1, residual)

    a, b, c, d = channels
    return (
        block(a),
        block(a, residual=True),
        block(a, residual=True),
        block(b, (3, 1)),
        block(b, residual=True),
        block(b, residual=True),
        block(c, (3, 3)),
        block(c, residual=True),
        block(c, residual=True),
        block(d, (3, 2)),
        block(d, residual=True),
        ConvSpec(width, (3, 3), (1, 1), 0),
        ConvSpec(width, (1, 1), (1, 1), 0, activation=activation),
    )


Modulation = tuple[jax.Array, jax.Array]
"""Scale and offset of a normalised feature map."""


def modulate(x: jax.Array, modulation: Modulation) -> jax.Array:
    """x·(1 + scale) + offset on the already normalised x (b, h, w, c).

    The modulation has the batch of x, or one that divides it: then each of its rows serves the
    consecutive rows of x that share it (references of one target).
    """
    scale, offset = modulation
    grouped = x.reshape(scale.shape[0], -1, *x.shape[1:])
    return (grouped * (1.0 + scale[:, None]) + offset[:, None]).reshape(x.shape)


class SpadeModulation(nn.Module):
    """Scale and offset maps from a condition map (SPADE; Park et al., CVPR 2019).

    As in the released IP-LAP there is no activation between the two convolutions.
    """

    features: int
    hidden: int

    @nn.compact
    def __call__(self, condition: jax.Array) -> Modulation:
        """(b, h, w, any) -> two maps (b, h, w, features)."""
        shared = ConvWeights(self.hidden, name="shared")(condition.shape[-1])
        scale = ConvWeights(self.features, name="scale")(self.hidden)
        offset = ConvWeights(self.features, name="offset")(self.hidden)
        both = Affine(*(jnp.concatenate(pair, -1) for pair in zip(scale, offset, strict=True)))
        maps = chained_conv(condition, shared, both)
        return maps[..., : self.features], maps[..., self.features :]


class AdaInModulation(nn.Module):
    """Scale and offset of every channel from a vector (AdaIN; Huang & Belongie, ICCV 2017)."""

    features: int
    hidden: int

    @nn.compact
    def __call__(self, condition: jax.Array) -> Modulation:
        """(b, any) -> two arrays (b, 1, 1, features)."""
        shared = nn.relu(nn.Dense(self.hidden, name="shared")(condition))[:, None, None, :]
        scale = nn.Dense(self.features, name="scale")(shared)
        return scale, nn.Dense(self.features, name="offset")(shared)


class ModulatedBlock(nn.Module):
    """Twice: modulated instance norm, LeakyReLU 0.2, 3x3 convolution; no skip.

    `modulation` and the body are apart because in the alignment network all references share one
    condition, and because the condition of a clip may be constant.
    """

    features: int
    hidden: int
    kind: Literal["spade", "adain"]

    def setup(self) -> None:
        """Names match in both kinds, so that one weight rule serves both."""
        layer = SpadeModulation if self.kind == "spade" else AdaInModulation
        self.modulation_1 = layer(self.features, self.hidden)
        self.modulation_2 = layer(self.features, self.hidden)
        self.conv_1 = conv(self.features, size=3)
        self.conv_2 = conv(self.features, size=3)

    def modulation(self, condition: jax.Array) -> tuple[Modulation, Modulation]:
        """Both layers' scale and offset from the condition."""
        return self.modulation_1(condition), self.modulation_2(condition)

    def body(self, x: jax.Array, modulation: tuple[Modulation, Modulation]) -> jax.Array:
        """(b, h, w, features) -> the same shape."""
        return self.body_of_normalised(instance_norm(x), modulation)

    def body_of_normalised(
        self, x: jax.Array, modulation: tuple[Modulation, Modulation]
    ) -> jax.Array:
        """The body on a map that `instance_norm` has gone over."""
        x = self.conv_1(nn.leaky_relu(modulate(x, modulation[0]), 0.2))
        return self.conv_2(nn.leaky_relu(modulate(instance_norm(x), modulation[1]), 0.2))

    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        """Body with the modulation of one condition per row of x."""
        return self.body(x, self.modulation(condition))
