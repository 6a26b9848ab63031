"""The rows of a table: how each is made from tracked points, and how it is compared with the truth.

Points are those of a landmark scheme with "pose" and "content" groups (iplap131 unless another is
named), in source pixels.
"""

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.evaluate.scores import ClipScore
from talkface_jax.landmarks import align, boxes, schemes
from talkface_jax.metrics import landmark, sync

SHIFT = 10

Points = Float[np.ndarray, "t n 2"]
Valid = Bool[np.ndarray, " t"]


def filled(points: Points, valid: Valid) -> Points:
    """A copy in which frames without a face hold the points of the nearest valid frame.

    They are never scored; this only keeps the fits over whole arrays away from degenerate points.
    """
    found = np.flatnonzero(valid)
    nearest = found[np.abs(found[None] - np.arange(len(points))[:, None]).argmin(1)]
    return np.asarray(points, np.float64)[nearest]


def with_content(
    points: Points, content: Float[np.ndarray, "t c 2"], *, scheme: str = landmark.SCHEME
) -> Points:
    """A copy of `points` with the jaw and lip points replaced."""
    result = np.array(points, np.float64)
    result[:, schemes.get_scheme(scheme).groups["content"]] = content
    return result


def static_mouth(
    points: Points,
    *,
    valid: Valid,
    references: Float[np.ndarray, "r n 2"] | None = None,
    scheme: str = landmark.SCHEME,
) -> Points:
    """The face with a mouth that never moves: mean reference, affinely aligned to each frame.

    Without `references` (in the same coordinates) the clip's own valid frames are the references,
    each normalised to its crop box, so that head motion does not blur the mean.
    """
    groups = schemes.get_scheme(scheme).groups
    if references is not None:
        local, unit = np.asarray(points, np.float64), None
        reference = np.asarray(references, np.float64)
    else:
        unit = boxes.crop_boxes(points, valid=valid)
        local = boxes.to_box(points, unit)
        reference = local[valid]
    content = align.static_mouth(
        reference[:, groups["pose"]], reference[:, groups["content"]], local[:, groups["pose"]]
    )
    still = with_content(local, content, scheme=scheme)
    return still if unit is None else boxes.from_box(still, unit)


def static_face(
    points: Points, *, references: Float[np.ndarray, "r n 2"], scheme: str = landmark.SCHEME
) -> Points:
    """A face that never moves: all points of the mean reference, affinely aligned to each frame.

    Both in the same coordinates; the points that speech does not move give the alignment.
    """
    pose = schemes.get_scheme(scheme).groups["pose"]
    still = np.asarray(references, np.float64).mean(0)
    maps = align.fit_affine(still[pose], np.asarray(points, np.float64)[:, pose])
    return align.apply_affine(still, maps)


def shifted(pred: Points, truth: Points, *, shift: int = SHIFT) -> Points:
    """The prediction's mouth of `shift` frames later, moved onto the truth's head of this frame.

    What the prediction would be, near enough, for audio that is `shift` frames ahead; the last
    frames take the first ones (no mouth is invented). The upper faces of the two frames give the
    affine map.
    """
    groups = schemes.get_scheme(landmark.SCHEME).groups
    moved = np.roll(np.asarray(pred, np.float64), -shift, axis=0)
    maps = align.fit_affine(moved[:, groups["pose"]], truth[:, groups["pose"]])
    return with_content(truth, align.apply_affine(moved[:, groups["content"]], maps))


def compare(
    clip: str,
    row: str,
    pred: Points,
    truth: Points,
    *,
    valid: Valid,
    scheme: str = landmark.SCHEME,
) -> ClipScore:
    """Landmark scores of one clip; frames that are invalid or have a NaN in `pred` are left out.

    Both in one isotropic unit (pixels). Distances are taken as the points lie: align them before if
    the two come from different videos (`metrics.landmark.pose_aligned`).
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    valid = valid & np.isfinite(pred).all((1, 2))
    pred = np.where(valid[:, None, None], pred, truth)
    distances = landmark.group_distances(pred, truth, valid=valid, scheme=scheme)
    opening, true_opening = (
        landmark.mouth_opening(points, scheme=scheme) for points in (pred, truth)
    )
    deviation = sync.deviation_ratio(opening[valid], true_opening[valid])
    curve = sync.lag_curve(opening, true_opening, valid=valid)
    return ClipScore(
        clip=clip,
        row=row,
        frames=int(valid.sum()),
        faceless=int((~valid).sum()),
        values={
            "lip_distance": distances["lips"],
            "jaw_distance": distances["jaw"],
            "face_distance": distances["face"],
            # A truth that does not move can be followed by nothing, itself included.
            "opening_correlation": sync.correlation(opening[valid], true_opening[valid])
            if np.isfinite(deviation)
            else float("nan"),
            "lag": sync.best_lag(curve),
            "deviation": deviation,
        },
        lag_curve=curve,
        opening=np.where(valid, opening, np.nan),
    )
