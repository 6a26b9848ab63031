"""How far the inner lips of ibug68 are apart, and lips that touch and go no further."""

from typing import TypeVar

import numpy as np
from jaxtyping import Float

from talkface_jax.landmarks.schemes import get_scheme

_SCHEME = get_scheme("ibug68")
# Of the inner lips, left to right.
ABOVE = np.array([_SCHEME.position(mesh) for mesh in (81, 13, 311)])
BELOW = np.array([_SCHEME.position(mesh) for mesh in (178, 14, 402)])

Array = TypeVar("Array")
"""Of NumPy or JAX."""


def gaps(face: Array) -> Array:
    """How far the inner lips are apart at three places, below 0 where one lies beyond the other.

    Args:
      face: (…, 68, 2), y growing downwards.

    Returns:
      (…, 3) in the unit of `face`.
    """
    return face[..., BELOW, 1] - face[..., ABOVE, 1]  # type: ignore[index]


def touching(face: Float[np.ndarray, "*b 68 2"]) -> Float[np.ndarray, "*b 68 2"]:
    """The face with inner lips that meet half-way wherever they would pass through each other.

    A network that draws every point on its own does that in emotions that press the lips together;
    a mouth so drawn looks as open as one whose lips are as far apart.
    """
    beyond = np.maximum(-gaps(face), 0) / 2
    moved = np.array(face)
    moved[..., ABOVE, 1] -= beyond
    moved[..., BELOW, 1] += beyond
    return moved
