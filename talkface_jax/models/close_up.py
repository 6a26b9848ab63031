"""The mouth of a face crop cut out, on the device, for losses that are to look at it closely."""

import jax
import jax.numpy as jnp

from talkface_jax.landmarks.schemes import get_scheme

_LIPS = get_scheme("ibug68").groups["lips"]
STEP = 8
"""Crops whose size is a multiple of this have a window of whole pixels."""


def window(size: int) -> tuple[int, int]:
    """Height and width of the close-up of a crop of `size` pixels: lips with as much skin around
    them as the mouth region of `talkface evaluate` has."""
    return 3 * size // STEP, 4 * size // STEP


def mouth(images: jax.Array, points: jax.Array) -> jax.Array:
    """The pixels around the middle of the lips; the window is moved back where it leaves the crop.

    Args:
      images: (b, size, size, c), size a multiple of `STEP`.
      points: (b, 68, 2) of scheme ibug68, [0, 1] over the crop.

    Returns:
      (b, *window(size), c); the gradient flows to the images alone.
    """
    size, channels = images.shape[1], images.shape[-1]
    height, width = window(size)
    lips = jax.lax.stop_gradient(points)[:, _LIPS].astype(jnp.float32) * size
    middle = (jnp.min(lips, 1) + jnp.max(lips, 1)) / 2
    # dynamic_slice itself moves a window that leaves the image back into it.
    left = jnp.rint(middle[:, 0] - width / 2).astype(jnp.int32)
    top = jnp.rint(middle[:, 1] - height / 2).astype(jnp.int32)

    def cut(image: jax.Array, top: jax.Array, left: jax.Array) -> jax.Array:
        at = (jnp.maximum(top, 0), jnp.maximum(left, 0), jnp.zeros((), jnp.int32))
        return jax.lax.dynamic_slice(image, at, (height, width, channels))

    return jax.vmap(cut)(images, top, left)
