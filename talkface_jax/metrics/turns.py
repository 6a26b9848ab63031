"""Whether a head and its eyes turn as they should, frame by frame."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks import pose
from talkface_jax.landmarks.blendshapes import POSITION
from talkface_jax.metrics import sync
from talkface_jax.records import FaceTrack

SHUT = 0.5
"""A lid that is down so far tells nothing of the eye behind it."""
MOVES = 0.2
"""Share of the truth's deviation below which a prediction stands still: what is left then is the
tracker's noise, which correlates with anything by chance."""
STILL = 0.5
"""Degrees of standard deviation below which the truth does not turn."""
CONVENTIONS: Mapping[str, str] = {
    "head and gaze": (
        "correlation over the frames of a clip of the tracked head's yaw and pitch, and of both "
        "eyes' yaw and pitch in the head together (centred, both angles in one sum), from the look "
        f"blendshapes, in frames in which no lid is down by {SHUT:g} or more; none where the truth "
        f"varies by less than {STILL:g} degrees, 0 where the prediction varies by less than "
        f"{MOVES:g} of that"
    )
}


def correlations(
    pred: FaceTrack, truth: FaceTrack, *, valid: Bool[np.ndarray, " t"]
) -> dict[str, float]:
    """yaw_correlation, pitch_correlation and gaze_correlation of two tracks.

    NaN where the truth does not turn or too few frames are left; 0 where only the prediction stands
    still, but for the tracker's noise.

    Args:
      pred, truth: both need a face in the frames of `valid`; they may be longer.
      valid: frames that count.
    """
    frames = np.flatnonzero(valid)
    heads = [pose.head_angles(track.head[frames]) for track in (pred, truth)]
    found = {
        f"{name}_correlation": _together(*(angles[:, [axis]] for angles in heads))
        for axis, name in enumerate(("yaw", "pitch"))
    }
    open_ = frames[_open(pred)[frames] & _open(truth)[frames]]
    eyes = [pose.gaze_angles(track.blendshapes[open_]) for track in (pred, truth)]
    return {**found, "gaze_correlation": _together(*eyes)}


def _open(track: FaceTrack) -> Bool[np.ndarray, " t"]:
    lids = [POSITION[f"eyeBlink{side}"] for side in ("Left", "Right")]
    return track.blendshapes[:, lids].max(-1) < SHUT


def _together(pred: Float[np.ndarray, "t a"], truth: Float[np.ndarray, "t a"]) -> float:
    if len(truth) < sync.MIN_PAIRS:
        return float("nan")
    ours, theirs = pred - pred.mean(0), truth - truth.mean(0)
    moves, wanted = (np.sqrt(np.square(item).sum(-1).mean()) for item in (ours, theirs))
    if wanted < STILL:
        return float("nan")
    if moves < MOVES * wanted:
        return 0.0
    return sync.correlation(ours.ravel(), theirs.ravel())
