"""Percentile bootstrap over speakers and their clips: how far a number depends on who was drawn.

Two clips of one speaker are alike, so drawing clips alone makes intervals too narrow. Each resample
draws speakers with replacement, then as many clips of each drawn speaker, with replacement (the
two-stage cluster bootstrap; Davison and Hinkley 1997, section 3.8). A statistic is of all clips so
drawn, so a speaker counts by the number of clips.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000
LEVEL = 0.95
CONVENTION = (
    f"{LEVEL:.0%} percentile bootstrap, {RESAMPLES} resamples of the speakers, then of each one's "
    "clips (a clip of no known speaker is a speaker of its own)"
)

_BLOCK = 100  # resamples at once: bounds the memory, changes no number of one clip a speaker

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps (..., n) values of n clips to (...) numbers; n differs from resample to resample."""


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


def _by_speaker(
    rows: Float[np.ndarray, "n k"], speakers: Sequence[str] | None
) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, " s"]]:
    """Complete rows, those of a speaker together, and how many each speaker has.

    With speakers they are sorted by (speaker, numbers), so that what is drawn does not depend on
    the order in which clips are given; without, they keep their order.
    """
    if speakers is not None and len(speakers) != len(rows):
        raise ValueError(f"speakers names {len(speakers)} clips, of {len(rows)} clips.")
    kept = np.isfinite(rows).all(axis=1)
    rows = rows[kept]
    if speakers is None:
        return rows, np.ones(len(rows), int)
    names = np.asarray(speakers, dtype=str)[kept]
    order = np.lexsort((*rows.T[::-1], names))
    known, sizes = np.unique(names, return_counts=True)
    alone = sizes[known == ""].sum()  # the empty name sorts first
    return rows[order], np.concatenate([np.ones(alone, int), sizes[known != ""]])


def _draws(
    sizes: Int[np.ndarray, " s"], *, seed: int, resamples: int
) -> Iterator[Int[np.ndarray, "r m"]]:
    """Indices of the clips of all resamples; resamples with equally many clips come together."""
    rng = np.random.default_rng(seed)
    first = np.cumsum(sizes) - sizes
    speakers = rng.integers(0, len(sizes), (resamples, len(sizes)))
    for start in range(0, resamples, _BLOCK):
        drawn = speakers[start : start + _BLOCK]
        counts = sizes[drawn]
        each = np.repeat(counts, counts.ravel())
        clips = np.repeat(first[drawn], counts.ravel()) + rng.integers(0, each)
        totals = counts.sum(1)
        starts = np.cumsum(totals) - totals
        for total in np.unique(totals):
            yield clips[starts[totals == total, None] + np.arange(total)]


def draw_counts(
    speakers: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "r n"]:
    """How often each clip is drawn in each resample, for statistics that are no function of one
    number a clip.

    Args:
      speakers: who is seen in each clip; "" is nobody known.
      seed: of the draws.
      resamples: how many.
    """
    names = np.asarray(speakers, dtype=str)
    order = np.argsort(names, kind="stable")
    known, sizes = np.unique(names, return_counts=True)
    alone = sizes[known == ""].sum()
    groups = np.concatenate([np.ones(alone, int), sizes[known != ""]])
    counts = [
        np.bincount(order[clips], minlength=len(names))
        for draw in _draws(groups, seed=seed, resamples=resamples)
        for clips in draw
    ]
    return np.asarray(counts, np.float64)


def _interval(value: float, samples: np.ndarray, *, n: int, level: float) -> Interval:
    samples = samples[np.isfinite(samples)]
    if not n or not len(samples) or not np.isfinite(value):
        return Interval(float(value), float("nan"), float("nan"), n)
    low, high = np.percentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(value), float(low), float(high), n)


def bootstrap(
    values: Float[np.ndarray, " n"],
    *,
    speakers: Sequence[str] | None = None,
    statistic: Statistic = mean,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """A statistic of one number a clip; clips whose value is NaN are in neither it nor its `n`.

    Args:
      values: one number a clip.
      speakers: who speaks in each clip; "" is nobody known. Without, each clip is a speaker.
      statistic: of the values of all clips, and of those of every resample.
      seed: of the draws.
      resamples: how many.
      level: share of the resamples inside the interval.

    Raises:
      ValueError: speakers has another length than values.
    """
    rows, sizes = _by_speaker(np.asarray(values, np.float64).reshape(-1, 1), speakers)
    kept = rows[:, 0]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = _draws(sizes, seed=seed, resamples=resamples)
    samples = np.concatenate([statistic(kept[draw]) for draw in draws])
    return _interval(float(statistic(kept)), samples, n=len(kept), level=level)


def bootstrap_curve(
    curves: Float[np.ndarray, "n k"],
    *,
    statistic: Callable[[np.ndarray], float],
    speakers: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """A number read off the mean curve of the clips (the lag of the averaged cross-correlation).

    Clips without a whole curve are left out; the arguments are those of `bootstrap`.

    Raises:
      ValueError: speakers has another length than curves.
    """
    curves = np.asarray(curves, np.float64)
    curves, sizes = _by_speaker(curves if curves.ndim == 2 else curves.reshape(-1, 1), speakers)
    if not len(curves):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = _draws(sizes, seed=seed, resamples=resamples)
    samples = np.asarray([statistic(curves[clips].mean(0)) for draw in draws for clips in draw])
    return _interval(statistic(curves.mean(0)), samples, n=len(curves), level=level)


def bootstrap_ratio(
    numerator: Float[np.ndarray, " n"],
    denominator: Float[np.ndarray, " n"],
    *,
    speakers: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Ratio of the means of two rows over the SAME clips; each resample draws whole pairs.

    Clips that lack either number are left out; the arguments are those of `bootstrap`.

    Raises:
      ValueError: the two, or speakers, have different lengths.
    """
    pairs = np.stack([np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)], -1)
    pairs, sizes = _by_speaker(pairs, speakers)
    n = len(pairs)
    top, bottom = np.ascontiguousarray(pairs.T)
    if not n or not bottom.mean():
        return Interval(float("nan"), float("nan"), float("nan"), n)
    samples = []
    for draw in _draws(sizes, seed=seed, resamples=resamples):
        over, under = top[draw].mean(-1), bottom[draw].mean(-1)
        samples.append(np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0))
    return _interval(top.mean() / bottom.mean(), np.concatenate(samples), n=n, level=level)


def bootstrap_difference(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    *,
    speakers: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean of a minus mean of b over the SAME clips, for numbers whose ratio means nothing (dB).

    Clips that lack either number are left out; the arguments are those of `bootstrap`.

    Raises:
      ValueError: the two, or speakers, have different lengths.
    """
    pairs = np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)], -1)
    pairs[~np.isfinite(pairs).all(-1)] = np.nan  # an endless PSNR less another is no number
    return bootstrap(
        pairs[:, 0] - pairs[:, 1], speakers=speakers, seed=seed, resamples=resamples, level=level
    )
