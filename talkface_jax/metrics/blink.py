"""Frequency, duration and interval of blinks in closure curves, and how far two sets are apart.

Conventions, to be stated with every number: a blink is a stretch of closure above 0.2 that reaches
0.5 (`landmarks.blinks`); its duration is the time between the two crossings of 0.2, of blinks that
lie whole within the clip; an interval goes from one start to the next within a clip. Short clips
hold short intervals only, so sets are compared by clips of the same lengths.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from talkface_jax.landmarks import blinks
from talkface_jax.records import FPS

CONVENTION = (
    f"blink = closure above {blinks.EDGE} that reaches {blinks.CLOSED}; duration between the "
    f"crossings of {blinks.EDGE}, of whole blinks; interval from start to start within a clip; "
    "distance = sum of the energy distances of blinks a clip, of intervals and of durations in "
    "seconds, over clips of the same lengths"
)


@dataclasses.dataclass(frozen=True, eq=False)
class ClipBlinks:
    """The blinks of one clip.

    Attributes:
      frames: length of the clip.
      count: blinks, those cut off by its ends included.
      durations: of whole blinks, in seconds.
      intervals: from start to start, in seconds.
    """

    frames: int
    count: int
    durations: Float64[np.ndarray, " d"]
    intervals: Float64[np.ndarray, " i"]


@dataclasses.dataclass(frozen=True)
class BlinkStatistics:
    """A set of clips: blinks a second, and means and standard deviations in seconds; NaN where
    there is no value."""

    clips: int
    seconds: float
    blinks: int
    rate: float
    duration: float
    duration_deviation: float
    interval: float
    interval_deviation: float


@dataclasses.dataclass(frozen=True)
class BlinkDistance:
    """Energy distances of two sets of clips: blinks a clip, and intervals and durations in seconds.

    0 where one of the sets has no interval or duration: the number of blinks tells that apart.
    """

    counts: float
    intervals: float
    durations: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.counts + self.intervals + self.durations


def measure(curve: Float[np.ndarray, " t"]) -> ClipBlinks:
    """The blinks of a clip's closure curve at 25 fps."""
    found = blinks.find_blinks(curve)
    durations = [blink.duration for blink in found if blink.whole]
    return ClipBlinks(
        frames=len(curve),
        count=len(found),
        durations=np.array(durations, np.float64) / FPS,
        intervals=blinks.intervals(found) / FPS,
    )


def summarise(clips: Sequence[ClipBlinks]) -> BlinkStatistics:
    """Rate, duration and interval over all clips together."""
    seconds = sum(clip.frames for clip in clips) / FPS
    count = sum(clip.count for clip in clips)
    durations = np.concatenate([np.zeros(0), *(clip.durations for clip in clips)])
    between = np.concatenate([np.zeros(0), *(clip.intervals for clip in clips)])
    return BlinkStatistics(
        clips=len(clips),
        seconds=seconds,
        blinks=count,
        rate=count / seconds if seconds else float("nan"),
        duration=float(durations.mean()) if len(durations) else float("nan"),
        duration_deviation=float(durations.std()) if len(durations) else float("nan"),
        interval=float(between.mean()) if len(between) else float("nan"),
        interval_deviation=float(between.std()) if len(between) else float("nan"),
    )


class BlinkDistances:
    """Distances between weighted subsets of one list of clips, for tests that draw many of them."""

    def __init__(self, clips: Sequence[ClipBlinks]) -> None:
        self.clips = len(clips)
        parts = (
            [np.array([clip.count], np.float64) for clip in clips],
            [clip.intervals for clip in clips],
            [clip.durations for clip in clips],
        )
        self._values = [np.concatenate([np.zeros(0), *values]) for values in parts]
        self._owners = [
            np.repeat(np.arange(len(clips)), [len(item) for item in values]) for values in parts
        ]

    def __call__(
        self, one: Float[np.ndarray, " clips"], other: Float[np.ndarray, " clips"]
    ) -> BlinkDistance:
        """The distance of two sets, each given by the weights of all clips, 0 for those outside."""
        from scipy import stats

        found = []
        for values, owners in zip(self._values, self._owners, strict=True):
            mine, theirs = one[owners], other[owners]
            if not (mine.any() and theirs.any()):
                found.append(0.0)
                continue
            # SciPy gives the root of 2 E|x - y| - E|x - x'| - E|y - y'|.
            root = stats.energy_distance(
                values[mine > 0], values[theirs > 0], mine[mine > 0], theirs[theirs > 0]
            )
            found.append(float(root) ** 2)
        return BlinkDistance(*found)


def distance(one: Sequence[ClipBlinks], other: Sequence[ClipBlinks]) -> BlinkDistance:
    """The energy distances of two sets of clips."""
    first = np.arange(len(one) + len(other)) < len(one)
    return BlinkDistances([*one, *other])(first.astype(float), (~first).astype(float))
