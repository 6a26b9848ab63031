"""3x3 convolutions with fewer multiplications, for CPUs: Winograd's F(2, 3).

Of a convolution by 3 taps along an axis two neighbouring results take four products, not six, and
over height and width together 16, not 36; equal up to rounding, which is that of float32 products
in another order. Source: Lavin & Gray, arXiv 1509.09308. XLA's CPU backend has no such way of its
own, and multiplies matrices faster than it convolves.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_SIDE = 3
# Fewer channels than this leave matrix products too narrow, fewer pixels too low.
_NARROW = 16
_FEW = 256
# Numbers of a picture's feature map beyond which pictures are convolved one after the other: what
# lies between is several times as large, and would be there for all of them.
_LARGE = 2**21

Convolution = Callable[[jax.Array, jax.Array], jax.Array]


def pad(x: jax.Array, axis: int, count: int) -> jax.Array:
    """x with `count` zeros at both ends of an axis."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (count, count)
    return jnp.pad(x, widths)


def in_pairs(x: jax.Array, kernel: jax.Array, axis: int, convolve: Convolution) -> jax.Array:
    """A convolution along one axis by 3 taps, unpadded, to an even count.

    Args:
      x: any shape, n + 2 long along the axis.
      kernel: the taps along its first axis, each a kernel for the other axes.
      axis: along which.
      convolve: along the other axes, of an array like x, n / 2 long, with a tap.

    Returns:
      As `convolve` gives, n long along the axis.
    """
    count = x.shape[axis] - 2

    def read(start: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, start, start + count - 1, 2, axis)

    a, b, c, d = (read(start) for start in range(4))
    first, middle, last = kernel
    outer, inner = (first + last) / 2, middle / 2
    sums = convolve(b + c, outer + inner), convolve(c - b, outer - inner)
    even = convolve(a - c, first) + sums[0] + sums[1]
    odd = sums[0] - sums[1] - convolve(b - d, last)
    out = jnp.stack([even, odd], axis + 1)
    return out.reshape(*even.shape[:axis], count, *even.shape[axis + 1 :])


def over_doubled(x: jax.Array, kernel: jax.Array, axis: int, convolve: Convolution) -> jax.Array:
    """A convolution along one axis by 3 taps, with zeros around, after every entry is there twice.

    Two of three taps meet the same entry, so two results take three products. Arguments as those of
    `in_pairs`, but n entries of x become 2·n.
    """
    count = x.shape[axis]
    padded = pad(x, axis, 1)
    before, after = (
        jax.lax.slice_in_dim(padded, start, start + count, axis=axis) for start in (0, 2)
    )
    first, middle, last = kernel
    whole = convolve(x, first + middle + last)
    pair = [whole + convolve(before - x, first), whole + convolve(after - x, last)]
    out = jnp.stack(pair, axis + 1)
    return out.reshape(*whole.shape[:axis], 2 * count, *whole.shape[axis + 1 :])


def convolve_plain(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """A 2-D convolution: (b, h, w, in) with (k, k, in, out), k odd -> (b, h/stride, w/stride, out),
    sizes rounded up."""
    side = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(side, side)] * 2, dimension_numbers=_DIMENSIONS
    )


def convolve_in_pairs(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same up to rounding for (3, 3, in, out), stride 1 and even h and w."""

    def along_width(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return in_pairs(pad(x, 2, 1), kernel, 2, jnp.matmul)

    return in_pairs(pad(x, 1, 1), kernel, 1, along_width)


def convolve_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of pictures that are made twice as high and wide before (nearest neighbour), by
    (3, 3, in, out): (b, h, w, in) -> (b, 2h, 2w, out), a quarter of the multiplications."""

    def along_width(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return over_doubled(x, kernel, 2, jnp.matmul)

    return over_doubled(x, kernel, 1, along_width)


def convolve_on_cpu(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve_plain` up to rounding, in whichever way is fast on a CPU."""
    (_, h, w, channels), (side, _, _, features) = x.shape, kernel.shape
    if x.dtype != jnp.float32:
        return convolve_plain(x, kernel, stride)
    if side == 1:
        return jnp.matmul(x[:, ::stride, ::stride], kernel[0, 0])
    even = stride == 1 and h % 2 == w % 2 == 0
    if not even or side != _SIDE or min(channels, features) < _NARROW or h * w < _FEW:
        return convolve_plain(x, kernel, stride)
    if h * w * max(channels, features) < _LARGE:
        return convolve_in_pairs(x, kernel)
    return jax.lax.map(lambda one: convolve_in_pairs(one[None], kernel)[0], x)


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve_plain`, up to rounding, as is fast on the platform."""
    cpu, default = (
        functools.partial(way, stride=stride) for way in (convolve_on_cpu, convolve_plain)
    )
    return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=default)


class PlaneConv(nn.Module):
    """A square 2-D convolution by `convolve`; parameters as those of `nn.Conv`."""

    features: int
    size: int = _SIDE
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, h, w, c) -> (b, h/stride, w/stride, features)."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        out = convolve(x.astype(kernel.dtype), kernel, self.stride)
        if not self.use_bias:
            return out
        return out + self.param("bias", nn.initializers.zeros_init(), shape[-1:])
