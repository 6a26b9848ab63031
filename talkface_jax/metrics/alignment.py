"""Bounded alignment in time: what of a distance is a mouth that is a little early or late.

Frame by frame, the right shape one frame late counts as a wrong shape; two correct readings of one
sentence differ so. The alignment lets each true frame take the best prediction within a few frames,
in order. Both numbers belong together: after the alignment, chatter looks better too.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from talkface_jax.landmarks import schemes
from talkface_jax.metrics import landmark

MAX_SHIFT = 3
CONVENTION = (
    "alignment in time = dynamic time warping in a Sakoe-Chiba band: each true frame takes the "
    f"prediction of a frame at most {MAX_SHIFT} frames away, never an earlier one than the true "
    "frame before it took, so that the sum of the distances is least"
)

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps m frames of the prediction and as many of the truth to m distances."""


def euclidean(pred: np.ndarray, truth: np.ndarray) -> Float64[np.ndarray, " m"]:
    """The norm of each frame's difference, whatever is in a frame: (m, ...) twice."""
    error = np.asarray(pred, np.float64) - truth
    return np.linalg.norm(error.reshape(len(error), -1), axis=-1)


def lips(
    pred: Float[np.ndarray, "m 131 2"], truth: Float[np.ndarray, "m 131 2"]
) -> Float64[np.ndarray, " m"]:
    """Mean lip distance in per cent of the true eye distance, on the true frame's head.

    The heads are laid onto each other (`landmark.pose_aligned`), for between two frames a head
    moves, and that is not the mouth's fault.
    """
    points = schemes.get_scheme(landmark.SCHEME).groups["lips"]
    return landmark.point_distances(landmark.pose_aligned(pred, truth), truth)[:, points].mean(-1)


def align_in_time(
    pred: Float[np.ndarray, "t ..."],
    truth: Float[np.ndarray, "t ..."],
    *,
    valid: Bool[np.ndarray, " t"],
    max_shift: int = MAX_SHIFT,
    distance: Distance = euclidean,
) -> Int[np.ndarray, " t"]:
    """For each true frame the frame of the prediction that it is compared with.

    Of all ways to take frames in order, at most `max_shift` away and none of them invalid, the one
    of the least sum of distances; of equal ones the one that shifts least. To take each frame
    itself is one of the ways, so the sum is never above that of the frame-wise comparison.

    Source: Sakoe & Chiba, IEEE Trans. ASSP 26(1), 1978, the band; ours: steps that leave out
    frames of the prediction cost nothing, for only true frames are counted.

    Args:
      pred, truth: a curve (t,), or whatever `distance` compares.
      valid: frames in which both are there.
      max_shift: in frames.
      distance: of frames; called once for each shift.

    Returns:
      Numbers of frames, ascending over the valid ones; an invalid frame has its own number and is
      to be left out, as before.

    Raises:
      ValueError: the lengths differ, or a valid frame has a distance that is no number.
    """
    if not len(pred) == len(truth) == len(valid):
        raise ValueError(
            f"prediction, truth and valid must be of one length, not {len(pred)}, {len(truth)} and "
            f"{len(valid)}"
        )
    index = np.arange(len(truth))
    frames = np.flatnonzero(valid)
    if len(frames):
        costs = _costs(pred, truth, valid=valid, max_shift=max_shift, distance=distance)
        index[frames] += _least_path(costs[frames], frames) - max_shift
    return index


def _costs(
    pred: np.ndarray,
    truth: np.ndarray,
    *,
    valid: np.ndarray,
    max_shift: int,
    distance: Distance,
) -> Float64[np.ndarray, "t shifts"]:
    """Distance of truth(t) and pred(t + shift), shift = -max_shift ... max_shift; infinite where
    either frame is invalid or there is none."""
    frames = np.arange(len(truth))
    costs = np.full((len(truth), 2 * max_shift + 1), np.inf)
    # No shift first: a frame that holds no number is then named by its own.
    for shift in sorted(range(-max_shift, max_shift + 1), key=abs):
        inside = frames[(frames + shift >= 0) & (frames + shift < len(pred))]
        both = inside[valid[inside] & valid[inside + shift]]
        if not len(both):
            continue
        found = np.asarray(distance(pred[both + shift], truth[both]), np.float64)
        if not np.isfinite(found).all():
            bad = int(both[~np.isfinite(found)][0])
            raise ValueError(
                f"the distance at valid frame {bad} is not a number; mark such frames invalid"
            )
        costs[both, max_shift + shift] = found
    return costs


def _least_path(
    costs: Float64[np.ndarray, "v shifts"], frames: Int[np.ndarray, " v"]
) -> Int[np.ndarray, " v"]:
    """The columns of the cheapest way through; frames taken never run backwards."""
    shifts = costs.shape[1]
    middle = shifts // 2
    # Sums of distances, then of shifts, compared in this order.
    best = [(float(cost), abs(s - middle)) for s, cost in enumerate(costs[0])]
    origins = np.zeros((len(costs), shifts), int)
    for row in range(1, len(costs)):
        step = int(frames[row] - frames[row - 1])
        reached = []
        for s in range(shifts):
            # Taken before: frames[row - 1] + p, now frames[row] + s, which must not be earlier.
            origin = min(range(min(shifts, s + step + 1)), key=best.__getitem__)
            cost, moved = best[origin]
            origins[row, s] = origin
            reached.append((cost + float(costs[row, s]), moved + abs(s - middle)))
        best = reached
    path = np.zeros(len(costs), int)
    path[-1] = min(range(shifts), key=best.__getitem__)
    for row in range(len(costs) - 1, 0, -1):
        path[row - 1] = origins[row, path[row]]
    return path


@dataclasses.dataclass(frozen=True)
class LipDistances:
    """A clip's mean lip distance in per cent of the eye distance, NaN where no frame is valid.

    Attributes:
      frame_wise: each true frame against the same frame of the prediction.
      aligned: after the alignment in time; at most `frame_wise`.
      shift: mean number of frames by which it moved, late predictions positive.
    """

    frame_wise: float
    aligned: float
    shift: float


def lip_distances(
    pred: Float[np.ndarray, "t 131 2"],
    truth: Float[np.ndarray, "t 131 2"],
    *,
    valid: Bool[np.ndarray, " t"],
    max_shift: int = MAX_SHIFT,
) -> LipDistances:
    """The lip distance of a clip frame by frame and after the alignment in time.

    Both in one isotropic unit (pixels); heads are laid onto each other in any case.

    Raises:
      ValueError: shapes differ or are not iplap131's, or a valid frame holds NaN.
    """
    index = align_in_time(pred, truth, valid=valid, max_shift=max_shift, distance=lips)
    frames = np.flatnonzero(valid)
    if not len(frames):
        return LipDistances(float("nan"), float("nan"), float("nan"))
    taken = index[frames]
    return LipDistances(
        frame_wise=float(lips(pred[frames], truth[frames]).mean()),
        aligned=float(lips(pred[taken], truth[frames]).mean()),
        shift=float((taken - frames).mean()),
    )
