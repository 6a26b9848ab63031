"""Convolutions of feature volumes (b, d, h, w, c).

On CPUs, where XLA's 3-D convolution is slow, they are made of 2-D ones, and in float32 with fewer
multiplications: windows of 3 as in `pair_convs`, and planes that are doubled before at their own
size. All ways agree up to rounding.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models import pair_convs
from talkface_jax.models.pair_convs import Convolution, in_pairs, pad

_PLANES = ("NHWC", "HWIO", "NHWC")
_VOLUMES = ("NDHWC", "DHWIO", "NDHWC")
# Numbers that a CPU reads at once: other counts of channels are filled up with zeros.
_LANES = 8
# Fewer outputs than this leave a matrix product too narrow.
_NARROW = 32
# Voxels below which kernels take longer to change than to use.
_FEW = 512


def convolve_direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3-D convolution that keeps the size: (b, d, h, w, in) with (k, k, k, in, out), k odd."""
    reach = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), [(reach, reach)] * 3, dimension_numbers=_VOLUMES
    )


def convolve_by_planes(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same up to rounding, as a sum of 2-D convolutions, one for each tap along the depth.

    On CPUs XLA computes those one and a half to four times as fast as a 3-D one.
    """
    taps, count = kernel.shape[0], x.shape[1]
    padded, convolve = pad(x, 1, taps // 2), _planes(pair_convs.convolve_plain)
    total = convolve(padded[:, :count], kernel[0])
    for tap in range(1, taps):
        total = total + convolve(padded[:, tap : tap + count], kernel[tap])
    return total


def convolve_in_pairs(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same up to rounding for windows of 3 and an even depth, two planes at a time: two thirds
    of the multiplications."""
    # Height and width in pairs too would save more, but move too much memory to be faster.
    return in_pairs(pad(x, 1, 1), kernel, 1, _planes(pair_convs.convolve_plain))


def convolve_to_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same up to rounding for windows of 7 and an even height, for few outputs.

    Every plane is convolved once, to the share that it has in each of 7 planes, which makes a
    matrix product of good width; along the height by 3, 3 and 1 taps, those of 3 in pairs.
    """
    b, d, h, w, _ = x.shape
    taps, features = kernel.shape[0], kernel.shape[-1]
    reach = taps // 2
    wide = kernel.transpose(1, 2, 3, 0, 4).reshape(*kernel.shape[1:4], taps * features)

    def along_width(x: jax.Array, kernel: jax.Array) -> jax.Array:
        padding = ((0, 0), (reach, reach))
        return jax.lax.conv_general_dilated(
            x, kernel[None], (1, 1), padding, dimension_numbers=_PLANES
        )

    images = pad(x.reshape(b * d, h, w, -1), 1, reach)
    shares = along_width(images[:, taps - 1 : taps - 1 + h], wide[taps - 1])
    for start in range(0, taps - 1, 3):
        rows = images[:, start : start + h + 2]
        shares = shares + in_pairs(rows, wide[start : start + 3], 1, along_width)
    shares = pad(shares.reshape(b, d, h, w, taps, features), 1, reach)
    total = shares[:, :d, :, :, 0]
    for tap in range(1, taps):
        total = total + shares[:, tap : tap + d, :, :, tap]
    return total


def double_planes(x: jax.Array) -> jax.Array:
    """Every pixel of images or volumes twice as high and wide (nearest neighbour)."""
    *lead, h, w, c = x.shape
    x = jnp.broadcast_to(x[..., :, None, :, None, :], (*lead, h, 2, w, 2, c))
    return x.reshape(*lead, 2 * h, 2 * w, c)


def convolve_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution by (3, 3, 3, in, out) of volumes whose planes are doubled before:
    (b, d, h, w, in) -> (b, d, 2h, 2w, out), d even; a sixth of the multiplications."""
    return in_pairs(pad(x, 1, 1), kernel, 1, _planes(pair_convs.convolve_doubled))


def _on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Whichever way is fast on a CPU."""
    (_, d, h, w, channels), (size, features) = x.shape, (kernel.shape[0], kernel.shape[-1])
    if x.dtype != jnp.float32 or size == 1 or d * h * w < _FEW:
        return convolve_by_planes(x, kernel)
    if channels > _LANES:
        x, kernel = _fill(x, -1), _fill(kernel, -2)
    kernel = _fill(kernel, -1)
    if size == 7 and features < _NARROW and h % 2 == 0:
        out = convolve_to_taps(x, kernel)
    elif size == 3 and d % 2 == 0:
        out = convolve_in_pairs(x, kernel)
    else:
        out = convolve_by_planes(x, kernel)
    return out[..., :features]


def _doubled_on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
    if x.dtype != jnp.float32 or x.shape[1] % 2:
        return _on_cpu(double_planes(x), kernel)
    return convolve_doubled(x, kernel)


def _doubled_direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolve_direct(double_planes(x), kernel)


class VolumeConv(nn.Module):
    """A cubic 3-D convolution with bias that keeps the size; parameters as those of `nn.Conv`."""

    features: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, d, h, w, c) -> (b, d, h, w, features)."""
        shape = (self.size,) * 3 + (x.shape[-1], self.features)
        return _affine(self, x, shape, cpu=_on_cpu, default=convolve_direct)


class DoublingVolumeConv(nn.Module):
    """`double_planes`, then a `VolumeConv` of size 3."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, d, h, w, c) -> (b, d, 2h, 2w, features)."""
        shape = (3, 3, 3, x.shape[-1], self.features)
        return _affine(self, x, shape, cpu=_doubled_on_cpu, default=_doubled_direct)


def _affine(
    module: nn.Module,
    x: jax.Array,
    shape: tuple[int, ...],
    *,
    cpu: Convolution,
    default: Convolution,
) -> jax.Array:
    """Parameters of a bound module, applied as is fast on the platform."""
    kernel = module.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:])
    x = x.astype(kernel.dtype)
    return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=default) + bias


def _fill(x: jax.Array, axis: int) -> jax.Array:
    """x with zeros at the end of an axis, to a multiple of the lanes."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % _LANES)
    return jnp.pad(x, widths)


def _planes(convolve: Convolution) -> Convolution:
    """A convolution of pictures, applied to every plane of volumes."""

    def each(x: jax.Array, kernel: jax.Array) -> jax.Array:
        b, d, *plane = x.shape
        out = convolve(x.reshape(b * d, *plane), kernel)
        return out.reshape(b, d, *out.shape[1:])

    return each
