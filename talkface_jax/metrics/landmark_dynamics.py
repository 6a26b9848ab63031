"""How far landmarks and their velocities are from the true ones: M-LD, F-LD, M-LVD, F-LVD.

LD is the mean distance of points after each frame's own centroid is subtracted (M: the 20 mouth
points about the mouth's centroid, F: all 68 about the face's), LVD that of their velocities. Where
the face is in the picture does not count; size, roll and turn of the head do. The numbers are in
the unit of the points, LVD in that unit a frame: state it, for published ones are in pixels of
256x256 crops.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks.schemes import get_scheme

SCHEME = "ibug68"
_MOUTH = get_scheme(SCHEME).groups["lips"]
_POINTS = len(get_scheme(SCHEME))
CONVENTION = (
    "M-LD and F-LD: mean distance of the 20 mouth and of all 68 points (ibug68) after each frame's "
    "own centroid is subtracted; M-LVD and F-LVD: the same of velocities, the differences of "
    "centred points of neighbouring frames; over frames, and pairs of neighbours, in which both "
    "videos show a face"
)
LEGACY_CONVENTION = (
    "as a public script for MEAD counts (evaluation_eat, test_lmd.py): velocities of points that "
    "are not centred, across frames without a face too, divided by frames instead of pairs; its "
    "F-LVD adds up the mouth's velocities and divides by 68, so it is 20/68 of its M-LVD and says "
    "nothing of the face; never compare these with F-LVD as defined above"
)


@dataclasses.dataclass(frozen=True)
class LandmarkDynamics:
    """Distances in the unit of the points (a frame, for velocities); NaN where nothing counts.

    Attributes:
      mouth, face: of positions (M-LD, F-LD).
      mouth_velocity, face_velocity: of velocities (M-LVD, F-LVD).
    """

    mouth: float
    face: float
    mouth_velocity: float
    face_velocity: float


def measure(
    pred: Float[np.ndarray, "t 68 2"],
    truth: Float[np.ndarray, "t 68 2"],
    *,
    valid: Bool[np.ndarray, " t"],
) -> LandmarkDynamics:
    """The four distances of one clip.

    Args:
      pred, truth: ibug68 points of the same frames in one isotropic unit, such as pixels of the
        truth's picture.
      valid: frames in which both show a face.

    Raises:
      ValueError: shapes differ or are not (t, 68, 2).
    """
    ours, theirs = _checked(pred, truth)
    valid = np.asarray(valid, bool)
    pairs = valid[1:] & valid[:-1]
    found = []
    for points in (_MOUTH, slice(None)):
        error = _centred(ours[:, points]) - _centred(theirs[:, points])
        distance = np.linalg.norm(error, axis=-1)
        velocity = np.linalg.norm(np.diff(error, axis=0), axis=-1)
        found += [_mean(distance[valid]), _mean(velocity[pairs])]
    mouth, mouth_velocity, face, face_velocity = found
    return LandmarkDynamics(mouth, face, mouth_velocity, face_velocity)


def measure_legacy(
    pred: Float[np.ndarray, "t 68 2"],
    truth: Float[np.ndarray, "t 68 2"],
    *,
    valid: Bool[np.ndarray, " t"],
) -> LandmarkDynamics:
    """What the public script prints for these points, to stand beside tables made by it.

    Its distances of positions are those of `measure`. Its velocities are wrong in four ways: points
    are not centred, so that the head's motion through the picture counts as articulation; a frame
    is compared with the last one that shows a face, however long before; n - 1 differences are
    divided by n; and the face's sum takes the mouth's term, so that F-LVD is 20/68 of M-LVD by
    construction. (The script finds points by dlib, in whole pixels, and stretches videos of
    different lengths onto each other; here both are the caller's.)

    Args:
      pred, truth, valid: as in `measure`; the script's unit is pixels of 256x256 crops.

    Raises:
      ValueError: as `measure`.
    """
    ours, theirs = _checked(pred, truth)
    valid = np.asarray(valid, bool)
    positions = measure(ours, theirs, valid=valid)
    frames = int(valid.sum())
    if not frames:
        return positions
    change = np.diff((ours - theirs)[valid], axis=0)
    total = float(np.linalg.norm(change[:, _MOUTH], axis=-1).sum())
    return LandmarkDynamics(
        positions.mouth,
        positions.face,
        total / (frames * len(_MOUTH)),
        total / (frames * _POINTS),
    )


def _checked(pred: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if pred.shape != truth.shape or truth.shape[1:] != (_POINTS, 2):
        raise ValueError(
            f"points must be (t, {_POINTS}, 2) twice, not {pred.shape} and {truth.shape}"
        )
    return np.asarray(pred, np.float64), np.asarray(truth, np.float64)


def _centred(points: np.ndarray) -> np.ndarray:
    return points - points.mean(1, keepdims=True)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
