"""Agreement in time of two curves of mouth opening: correlation, lag, deviation.

Convention of the sign: a positive lag means that the prediction comes LATE by so many frames (40 ms
each).
"""

import numpy as np
from jaxtyping import Bool, Float

MAX_LAG = 10
MIN_PAIRS = 25
"""Pairs of frames that every lag of a curve needs: a second."""
MIN_SHARE = 0.5
"""Their least number, as a share of the pairs without a shift: few pairs correlate by chance."""
MIN_PEAK = 0.3
"""Below this a mean correlation curve has no peak that means anything."""
_STILL = 1e-6
CONVENTION = (
    "mouth opening = inner-lip gap (mesh 13-14) / outer-eye-corner distance of the same frame; "
    f"Pearson correlation over the valid frames of a clip; lag = argmax over +-{MAX_LAG} frames of "
    "the cross-correlation, averaged over the clips that leave every lag at least "
    f"{MIN_PAIRS} pairs of valid frames and {MIN_SHARE:.0%} of those without a shift, positive "
    f"where the prediction is late, a dash where the peak is below {MIN_PEAK:g}; deviation "
    "= standard deviation of the prediction over that of the truth, median over clips"
)


def correlation(pred: Float[np.ndarray, " t"], truth: Float[np.ndarray, " t"]) -> float:
    """Pearson correlation; 0 where one curve is constant (a still mouth follows nothing)."""
    if len(pred) < 2 or pred.std() < _STILL or truth.std() < _STILL:
        return 0.0
    return float(np.corrcoef(pred, truth)[0, 1])


def lag_curve(
    pred: Float[np.ndarray, " t"],
    truth: Float[np.ndarray, " t"],
    *,
    valid: Bool[np.ndarray, " t"],
    max_lag: int = MAX_LAG,
) -> Float[np.ndarray, " lags"]:
    """Correlation of pred(t + lag) with truth(t), lag = -max_lag ... max_lag.

    Only pairs of valid frames count. The curve is complete or NaN throughout, so that curves can be
    averaged over clips: where one lag alone were left out, or stood on a few frames between the
    holes of a clip, it would win or lose by chance.

    Returns:
      2 * max_lag + 1 correlations; NaN where a lag has fewer than `MIN_PAIRS` pairs, or less than
      `MIN_SHARE` of the pairs without a shift.
    """
    pairs = [_pairs(pred, truth, valid=valid, lag=lag) for lag in range(-max_lag, max_lag + 1)]
    least = max(MIN_PAIRS, MIN_SHARE * len(pairs[max_lag][0]))
    if min(len(ours) for ours, _ in pairs) < least:
        return np.full(len(pairs), np.nan)
    return np.array([correlation(ours, theirs) for ours, theirs in pairs])


def _pairs(
    pred: np.ndarray, truth: np.ndarray, *, valid: np.ndarray, lag: int
) -> tuple[np.ndarray, np.ndarray]:
    """pred(t + lag) and truth(t) where both frames lie in the clip and are valid."""
    frames = np.arange(len(truth))
    inside = frames[(frames + lag >= 0) & (frames + lag < len(pred))]
    both = inside[valid[inside] & valid[inside + lag]]
    return pred[both + lag], truth[both]


def best_lag(curve: Float[np.ndarray, " lags"]) -> float:
    """The lag in frames at which a curve of `lag_curve` (or their mean over clips) is highest.

    NaN where the curve is NaN throughout, or nowhere above `MIN_PEAK` (a mouth that does not move
    with the true one at any lag): then there is no best lag.
    """
    if np.isnan(curve).all() or np.nanmax(curve) < MIN_PEAK:
        return float("nan")
    return float(np.nanargmax(curve) - len(curve) // 2)


def deviation_ratio(pred: Float[np.ndarray, " t"], truth: Float[np.ndarray, " t"]) -> float:
    """Standard deviation of the prediction over the truth's; NaN where the truth does not move.

    1 is the right amount of articulation, 0 a still mouth.
    """
    if len(truth) < 2 or truth.std() < _STILL:
        return float("nan")
    return float(pred.std() / truth.std())
