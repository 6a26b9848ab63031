"""Frames in which the prediction shows no face although the truth does: they count against it.

Left out of the mean, they would reward a system for breaking where it is hard. In such a frame the
prediction's landmarks are as wrong as in its worst frame of the clip, or as a mouth that never
moves in that one's worst frame, whichever is worse; its mouth counts as closed; its picture is
compared as it is. A clip of which it loses more than half is not scored.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import landmark

_INNER_LIPS = (13, 14)
CONVENTION = (
    "frames in which the truth shows a face and the prediction none are compared all the same: "
    "landmarks count with the largest distance in the clip, of the prediction or the static "
    "mouth, the mouth as closed, images are compared as they are; a clip of which more than half "
    "is lost is a failure"
)


def require_most(seen: Bool[np.ndarray, " t"], *, valid: Bool[np.ndarray, " t"], name: str) -> None:
    """Refuses a prediction that loses the face for more than half of the clip.

    Args:
      seen: frames in which the prediction shows a face.
      valid: those in which the truth does.
      name: of the prediction.

    Raises:
      FaceError: as said.
    """
    lost, frames = int((valid & ~seen).sum()), int(valid.sum())
    if 2 * lost > frames:
        raise FaceError(
            f"{name} shows no face in {lost} of the {frames} frames in which its truth does; "
            "that is too few to score"
        )


def closed(
    points: Float[np.ndarray, "t 131 2"], *, seen: Bool[np.ndarray, " t"]
) -> Float[np.ndarray, "t 131 2"]:
    """A copy in which the inner lips meet in the frames that lose the face."""
    scheme = schemes.get_scheme(landmark.SCHEME)
    upper, lower = (scheme.position(mesh) for mesh in _INNER_LIPS)
    result = np.array(points)
    result[~seen, lower] = result[~seen, upper]
    return result


def distances(
    pred: Float[np.ndarray, "t 131 2"],
    truth: Float[np.ndarray, "t 131 2"],
    still: Float[np.ndarray, "t 131 2"],
    *,
    valid: Bool[np.ndarray, " t"],
    seen: Bool[np.ndarray, " t"],
) -> Mapping[str, float]:
    """Mean distances of lips, jaw and face as in `metrics.landmark.group_distances`.

    Args:
      pred, truth: aligned, in pixels.
      still: the static mouth of the truth.
      valid: frames in which the truth shows a face.
      seen: those in which the prediction does too; at least one of the valid ones.
    """
    groups = schemes.get_scheme(landmark.SCHEME).groups
    parts = {
        "lip_distance": groups["lips"],
        "jaw_distance": np.setdiff1d(groups["content"], groups["lips"]),
        "face_distance": np.arange(truth.shape[1]),
    }
    ours = landmark.point_distances(pred, truth)
    floor = landmark.point_distances(still, truth)
    found = {}
    for name, part in parts.items():
        frames, least = ours[:, part].mean(1), floor[:, part].mean(1)
        worst = max(frames[valid & seen].max(), least[valid].max())
        found[name] = float(np.where(seen, frames, worst)[valid].mean())
    return found
