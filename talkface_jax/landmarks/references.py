"""Which frames of a track stand as references, and which stands in for a frame without a face."""

import numpy as np
from jaxtyping import Bool, Float, Int

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme


def candidates(
    valid: Bool[np.ndarray, " t"], allowed: Bool[np.ndarray, " t"] | None = None
) -> Bool[np.ndarray, " t"]:
    """The frames that may stand as references: those with a face, of the allowed ones.

    Args:
      valid: False where there is no face.
      allowed: the frames to choose from; None for all.

    Raises:
      FaceError: none of them has a face.
      ValueError: `allowed` is of another length.
    """
    if allowed is None:
        allowed = np.ones_like(valid)
    if allowed.shape != valid.shape:
        raise ValueError(f"allowed must be of shape {valid.shape}, not {allowed.shape}")
    found = valid & allowed
    if not found.any():
        raise FaceError("no frame that may be a reference has a face; give longer footage")
    return found


def spread(
    opening: Float[np.ndarray, " t"], *, valid: Bool[np.ndarray, " t"], count: int
) -> Int[np.ndarray, " count"]:
    """`count` valid frames evenly spaced in order of lip openness, closed first.

    With fewer valid frames than that, frames repeat.

    Raises:
      ValueError: no valid frame.
    """
    candidates = np.flatnonzero(valid)
    if not len(candidates):
        raise ValueError("no valid frame to take references from")
    order = candidates[np.argsort(opening[candidates], kind="stable")]
    return order[np.linspace(0, len(order) - 1, count).round().astype(int)]


def spread_of_mesh(
    mesh: Float[np.ndarray, "t 478 _"], *, valid: Bool[np.ndarray, " t"], count: int
) -> Int[np.ndarray, " count"]:
    """`spread` by the mouth opening of a tracked mesh, in an isotropic unit (source pixels).

    Raises:
      ValueError: no valid frame.
    """
    opening = measures.mouth_opening(mesh, get_scheme("mesh478"))
    return spread(opening, valid=valid, count=count)


def nearest_valid(valid: Bool[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    """For every frame the nearest valid one, the earlier of two at the same distance.

    Raises:
      ValueError: no valid frame.
    """
    known, every = np.flatnonzero(valid), np.arange(len(valid))
    if not len(known):
        raise ValueError("no valid frame to stand in for the others")
    later = np.clip(np.searchsorted(known, every), 0, len(known) - 1)
    before, after = known[np.maximum(later - 1, 0)], known[later]
    return np.where(np.abs(every - before) <= np.abs(after - every), before, after)
