"""How far predicted displacements of the landmarks are from the true ones, for motion stages."""

from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.metrics.base import Average

_SCHEME = get_scheme("ibug68")
_LIPS = _SCHEME.groups["lips"]
_UPPER, _LOWER = _SCHEME.position(13), _SCHEME.position(14)


def motion_errors(predicted: jax.Array, true: jax.Array, mask: jax.Array) -> dict[str, Any]:
    """Mean distance of the lip and of all points, and error of the mouth's opening, in the unit of
    the canonical frame.

    Args:
      predicted, true: displacements (b, t, 68, 2).
      mask: (b,), 0 for padding.
    """
    distance = jnp.linalg.norm(predicted - true, axis=-1)
    return {
        "lip_distance": Average.of(distance[..., _LIPS], mask),
        "face_distance": Average.of(distance, mask),
        "opening_error": Average.of(jnp.abs(_opening(predicted) - _opening(true)), mask),
    }


def _opening(offsets: jax.Array) -> jax.Array:
    """How much further apart than in the face at rest the inner lips are: (b, t)."""
    return offsets[..., _LOWER, 1] - offsets[..., _UPPER, 1]
