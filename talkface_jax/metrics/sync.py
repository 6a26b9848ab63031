"""Agreement in time of two curves of mouth opening: correlation, lag, deviation.

Convention of the sign: a positive lag means that the prediction comes LATE by so many frames (40 ms
each).
"""

import numpy as np
from jaxtyping import Bool, Float

MAX_LAG = 10
_STILL = 1e-6
CONVENTION = (
    "mouth opening = inner-lip gap (mesh 13-14) / outer-eye-corner distance of the same frame; "
    f"Pearson correlation over the valid frames of a clip; lag = argmax over +-{MAX_LAG} frames of "
    "the cross-correlation, averaged over clips, positive where the prediction is late; deviation "
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

    Only pairs of valid frames count; NaN where fewer than three remain (a clip that is too short).
    """
    curve = np.full(2 * max_lag + 1, np.nan)
    for i, lag in enumerate(range(-max_lag, max_lag + 1)):
        first, last = max(0, lag), len(pred) + min(0, lag)
        if last - first < 3:
            continue
        now, then = slice(first, last), slice(first - lag, last - lag)
        both = valid[now] & valid[then]
        if both.sum() >= 3:
            curve[i] = correlation(pred[now][both], truth[then][both])
    return curve


def best_lag(curve: Float[np.ndarray, " lags"]) -> float:
    """The lag in frames at which a curve of `lag_curve` (or their mean over clips) is highest.

    NaN where the curve is NaN throughout, or flat: then there is no best lag.
    """
    if np.isnan(curve).all() or np.nanmax(curve) - np.nanmin(curve) < _STILL:
        return float("nan")
    return float(np.nanargmax(curve) - len(curve) // 2)


def deviation_ratio(pred: Float[np.ndarray, " t"], truth: Float[np.ndarray, " t"]) -> float:
    """Standard deviation of the prediction over the truth's; NaN where the truth does not move.

    1 is the right amount of articulation, 0 a still mouth.
    """
    if len(truth) < 2 or truth.std() < _STILL:
        return float("nan")
    return float(pred.std() / truth.std())
