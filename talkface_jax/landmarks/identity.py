"""Which frame of a track shows the person best: the picture that a renderer starts from."""

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import FaceTrack


def identity_frame(
    *,
    lips: Float[np.ndarray, " t"],
    eyes: Float[np.ndarray, " t"],
    valid: Bool[np.ndarray, " t"],
) -> int:
    """Of the valid frames whose eyes are at least as open as usual, the one of median lip openness.

    A picture with closed eyes or lips has nothing to show where they open.

    Args:
      lips: `measures.mouth_opening` of every frame.
      eyes: `measures.eye_opening` of every frame.
      valid: the frames to choose from.

    Raises:
      ValueError: no valid frame.
    """
    candidates = np.flatnonzero(valid)
    if not len(candidates):
        raise ValueError("no valid frame to take the identity from")
    candidates = candidates[eyes[candidates] >= np.median(eyes[candidates])]
    order = candidates[np.argsort(lips[candidates], kind="stable")]
    return int(order[len(order) // 2])


def frame_of(track: FaceTrack, *, valid: Bool[np.ndarray, " t"] | None = None) -> int:
    """`identity_frame` of a track.

    Args:
      track: a tracked face.
      valid: the frames to choose from; None for all with a face.

    Raises:
      ValueError: none.
    """
    return identity_frame(
        lips=measures.mouth_opening(track.landmarks, get_scheme("mesh478")),
        eyes=measures.eye_opening(track.landmarks),
        valid=track.valid if valid is None else valid,
    )
