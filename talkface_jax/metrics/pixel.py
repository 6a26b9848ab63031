"""Online errors of generated images; traceable."""

import jax
import jax.numpy as jnp

from talkface_jax.metrics.base import Average


def pixel_errors(image: jax.Array, target: jax.Array, mask: jax.Array) -> dict[str, Average]:
    """`l1`, the mean absolute error, and `psnr` in dB, of images (b, h, w, c) in [0, 1]."""
    error = image - target
    mse = jnp.mean(jnp.square(error), axis=(1, 2, 3))
    return {
        "l1": Average.of(jnp.abs(error), mask),
        "psnr": Average.of(-10.0 * jnp.log10(mse + 1e-8), mask),
    }
