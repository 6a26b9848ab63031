"""Percentile bootstrap over clips: how far a table's numbers depend on which clips were drawn."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95
CONVENTION = f"{LEVEL:.0%} percentile bootstrap over clips, {RESAMPLES} resamples"

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps (..., n) values of n clips to (...) numbers."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A statistic over n clips with its interval; all NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


def mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    return values.mean(-1)


def median(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    return np.median(values, axis=-1)


def _draws(n: int, *, seed: int, resamples: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n, (resamples, n))


def _interval(value: float, samples: np.ndarray, *, n: int, level: float) -> Interval:
    samples = samples[np.isfinite(samples)]
    if not n or not len(samples):
        return Interval(float(value), float("nan"), float("nan"), n)
    low, high = np.percentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(value), float(low), float(high), n)


def bootstrap(
    values: Float[np.ndarray, " n"],
    *,
    statistic: Statistic = mean,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """A statistic of one number a clip; clips whose value is NaN are in neither it nor its `n`."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    samples = statistic(values[_draws(len(values), seed=seed, resamples=resamples)])
    return _interval(float(statistic(values)), samples, n=len(values), level=level)


def bootstrap_curve(
    curves: Float[np.ndarray, "n k"],
    *,
    statistic: Callable[[np.ndarray], float],
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """A number read off the mean curve of the clips (the lag of the averaged cross-correlation)."""
    curves = np.asarray(curves, np.float64)
    curves = curves[np.isfinite(curves).all(axis=-1)] if len(curves) else curves
    if not len(curves):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    means = curves[_draws(len(curves), seed=seed, resamples=resamples)].mean(1)
    samples = np.asarray([statistic(curve) for curve in means])
    return _interval(statistic(curves.mean(0)), samples, n=len(curves), level=level)


def bootstrap_ratio(
    numerator: Float[np.ndarray, " n"],
    denominator: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Ratio of the means of two rows over the SAME clips; each resample draws whole pairs.

    Raises:
      ValueError: the two have different lengths.
    """
    pairs = np.stack([np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    n = pairs.shape[1]
    if not n or not pairs[1].mean():
        return Interval(float("nan"), float("nan"), float("nan"), n)
    top, bottom = pairs[:, _draws(n, seed=seed, resamples=resamples)].mean(-1)
    samples = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return _interval(pairs[0].mean() / pairs[1].mean(), samples, n=n, level=level)
