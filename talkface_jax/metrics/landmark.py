"""Landmark distances and alignment of two heads, on the host.

Convention, to be stated with every number: the distance of a point group is the mean Euclidean
distance of its points, in per cent of the TRUE frame's distance between the outer eye corners (mesh
points 33 and 263), averaged over the valid frames of a clip. The lip points are the ones to
judge by: the error of the jaw points is mostly head turn.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks import align, measures, schemes

SCHEME = "iplap131"
UNIT = "% of the outer-eye-corner distance"


def convention(scheme: str = SCHEME) -> str:
    """How distances in that scheme are meant, in one line."""
    return (
        f"scheme {scheme} (2-D); mean point distance in {UNIT} of the true frame "
        "(mesh points 33-263)"
    )


def point_distances(
    pred: Float[np.ndarray, "t n 2"], truth: Float[np.ndarray, "t n 2"], *, scheme: str = SCHEME
) -> Float[np.ndarray, "t n"]:
    """Euclidean distance of each point of the scheme, in per cent of the true eye distance.

    Both in the same isotropic unit (source pixels, not box coordinates).

    Raises:
      ValueError: shapes differ or are not those of the scheme.
    """
    known = schemes.get_scheme(scheme)
    if pred.shape != truth.shape or truth.shape[1:] != (len(known), 2):
        raise ValueError(
            f"points must be (t, {len(known)}, 2) twice, not {pred.shape} and {truth.shape}"
        )
    eyes = np.asarray(measures.eye_distance(truth, known), np.float64)
    error = np.linalg.norm(np.asarray(pred, np.float64) - truth, axis=-1)
    return 100 * error / np.maximum(eyes, 1e-9)[:, None]


def group_distances(
    pred: Float[np.ndarray, "t n 2"],
    truth: Float[np.ndarray, "t n 2"],
    *,
    valid: Bool[np.ndarray, " t"],
    scheme: str = SCHEME,
) -> Mapping[str, float]:
    """A clip's mean distance of the lip points, the jaw points and all points of the scheme.

    The jaw points are those that speech moves besides the lips; iplap131 has 40, 17 and 131 points.
    NaN where no frame is valid.
    """
    groups = schemes.get_scheme(scheme).groups
    jaw = np.setdiff1d(groups["content"], groups["lips"])
    distances = point_distances(pred, truth, scheme=scheme)[valid]
    if not len(distances):
        return {"lips": float("nan"), "jaw": float("nan"), "face": float("nan")}
    return {
        "lips": float(distances[:, groups["lips"]].mean()),
        "jaw": float(distances[:, jaw].mean()),
        "face": float(distances.mean()),
    }


def pose_aligned(
    pred: Float[np.ndarray, "t n 2"], truth: Float[np.ndarray, "t n 2"]
) -> Float[np.ndarray, "t n 2"]:
    """`pred` moved onto `truth` by one similarity a frame, fitted on the 74 "pose" points.

    Takes away differences of place, size and roll between two videos, and nothing of the mouth's
    shape.
    """
    pose = schemes.get_scheme(SCHEME).groups["pose"]
    return align.apply_affine(pred, align.fit_similarity(pred[:, pose], truth[:, pose]))


def mouth_opening(
    points: Float[np.ndarray, "t n 2"], *, scheme: str = SCHEME
) -> Float[np.ndarray, " t"]:
    """Inner-lip gap (mesh 13-14) over the frame's own outer-eye-corner distance; 0 is closed."""
    return measures.mouth_opening(points, schemes.get_scheme(scheme))
