"""Convolutions of feature volumes (b, d, h, w, c)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

_PLANES = ("NHWC", "HWIO", "NHWC")
_VOLUMES = ("NDHWC", "DHWIO", "NDHWC")


def convolve_direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3-D convolution that keeps the size: (b, d, h, w, in) with (k, k, k, in, out), k odd."""
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), [(pad, pad)] * 3, dimension_numbers=_VOLUMES
    )


def convolve_by_planes(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same up to rounding, as a sum of 2-D convolutions, one for each tap along the depth.

    On CPUs XLA computes those one and a half to four times as fast as a 3-D one.
    """
    b, d, h, w, c = x.shape
    pad = kernel.shape[0] // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (0, 0), (0, 0), (0, 0)))

    def read(tap: int) -> jax.Array:
        moved = x[:, tap : tap + d].reshape(b * d, h, w, c)
        return jax.lax.conv_general_dilated(
            moved, kernel[tap], (1, 1), [(pad, pad)] * 2, dimension_numbers=_PLANES
        )

    total = read(0)
    for tap in range(1, kernel.shape[0]):
        total = total + read(tap)
    return total.reshape(b, d, h, w, kernel.shape[-1])


class VolumeConv(nn.Module):
    """A cubic 3-D convolution with bias that keeps the size; parameters as those of `nn.Conv`."""

    features: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, d, h, w, c) -> (b, d, h, w, features)."""
        shape = (self.size,) * 3 + (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        out = jax.lax.platform_dependent(
            x.astype(kernel.dtype), kernel, cpu=convolve_by_planes, default=convolve_direct
        )
        return out + bias
