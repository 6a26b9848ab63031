"""Frames in which the prediction shows no face although the truth does: they count against it.

Left out of the mean, they would reward a system for breaking where it is hard. In such a frame the
prediction's landmarks are as wrong as in the clip's worst frame, or as a mouth that never moves,
whichever is worse; its mouth stays as it was last seen; its picture is compared as it is.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.landmarks import schemes
from talkface_jax.metrics import landmark

CONVENTION = (
    "frames in which the truth shows a face and the prediction none are compared all the same: "
    "landmarks count with the clip's largest distance or the static mouth's, whichever is larger, "
    "the mouth stays as in the nearest frame with a face, images are compared as they are"
)


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
        worst = np.maximum(frames[valid & seen].max(), least)
        found[name] = float(np.where(seen, frames, worst)[valid].mean())
    return found
