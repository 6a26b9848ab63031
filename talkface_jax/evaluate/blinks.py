"""Generated blinks against tracked ones: rates, durations, and a two-sample test with a baseline.

The baseline is a constant-interval blinker: the mean blink of the training tracks at their mean
interval, in random phase. Tracked clips are short, and a short clip holds short intervals only; so
generated tracks are cut to the lengths of the tracked clips before anything is compared.

Schema of blinks.json (version 2; NaN is written as null): the fields of `BlinkReport`.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from talkface_jax.capabilities import BLINK_DURATIONS, BLINK_RATES, BLINK_VARIATION
from talkface_jax.errors import RecordError
from talkface_jax.evaluate import bootstrap
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.landmarks import blinks
from talkface_jax.metrics import blink as metric
from talkface_jax.records import FPS

SCHEMA = 2
REAL = "ground-truth"
MODEL = "model"
CONSTANT = "constant-interval"
ROWS = {
    REAL: "closure of the eyes in the tracked clips",
    MODEL: "generated from noise, cut to the lengths of the clips",
    CONSTANT: "the training data's mean blink at its mean interval, in random phase, cut likewise",
}
NEAR = 0.5
"""Largest distance of a model that is nearer, over that of the constant-interval blinker. Two
constant-interval blinkers differ by their phases alone, far less than that."""
DRAWS = 5
"""Sets of noise that the generators are asked with, each judged by itself too."""
_COPIES = 4
_EXAMPLES = 5
_SHAPE_MARGIN = 3

Generate = Callable[[int, int], Float[np.ndarray, " t"]]
"""(seed, frames) -> a closure curve."""


@dataclasses.dataclass(frozen=True, eq=False)
class ConstantBlinker:
    """The same blink over and over.

    Attributes:
      interval: frames from start to start.
      shape: closure from `before` frames ahead of the start of the blink on.
      before: frames of the shape that lie before the start.
    """

    interval: float
    shape: Float64[np.ndarray, " k"]
    before: int = _SHAPE_MARGIN

    @classmethod
    def of(cls, curves: Sequence[Float[np.ndarray, " t"]]) -> "ConstantBlinker":
        """The mean blink of training curves, and the interval that gives their number of blinks a
        second (the intervals seen within short clips are too short).

        Raises:
          RecordError: the curves hold no whole blink.
        """
        found = [(curve, blink) for curve in curves for blink in blinks.find_blinks(curve)]
        whole = [(curve, blink) for curve, blink in found if blink.whole]
        if not whole:
            raise RecordError(
                f"{len(curves)} training clips hold no whole blink to compare with; prepare more "
                "or longer footage"
            )
        duration = float(np.mean([blink.duration for _, blink in whole]))
        steps = np.arange(-_SHAPE_MARGIN, math.ceil(duration) + _SHAPE_MARGIN + 1)
        # Each blink at the mean length: a mean of unequal ones would be flat and too long.
        shapes = [
            np.interp(blink.start + steps * blink.duration / duration, np.arange(len(curve)), curve)
            for curve, blink in whole
        ]
        mean = cls(sum(map(len, curves)) / len(found), np.mean(shapes, 0))
        # Frames at random moments of a blink make it look longer: undo that.
        seen = metric.summarise([metric.measure(mean(seed, 250)) for seed in range(50)]).duration
        shape = np.interp(steps * seen * FPS / duration, steps, mean.shape, left=0.0, right=0.0)
        return dataclasses.replace(mean, shape=shape)

    def __call__(self, seed: int, frames: int) -> Float64[np.ndarray, " frames"]:
        """A closure curve whose first blink comes at a random moment of the interval."""
        rng = np.random.default_rng(seed)
        now = np.arange(frames) + rng.uniform(0, self.interval)
        steps = np.arange(len(self.shape)) - self.before
        since = (now + self.before) % self.interval - self.before
        return np.interp(since, steps, self.shape, left=0.0, right=0.0)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One generator's distance from the tracked clips.

    Attributes:
      distance: total energy distance, with its bootstrap interval over tracked speakers and clips.
      parts: by blinks a clip, interval and duration.
      p_value: share of relabellings at which the distance is at least as large. Real and generated
        clips change places among those of one length; small where the two are told apart.
    """

    distance: Interval
    parts: metric.BlinkDistance
    p_value: float


@dataclasses.dataclass(frozen=True)
class BlinkReport:
    """What `evaluate_blinks` found.

    Attributes:
      sequences: of the generated long sequences of all draws, before any cut.
      sequence_seconds: length of each.
      rows: statistics of the tracked clips and of both generators cut to their lengths.
      comparisons: by generator.
      difference: distance of the constant-interval blinker minus that of the model, over the same
        resampled clips; above 0 the model is nearer.
      draws: by generator its distance in each of the draws.
      conventions: how it was measured.
      examples: a few closure curves by row, for the figure.
      values: intervals and durations in seconds by row, for the figure.
    """

    sequences: metric.BlinkStatistics
    sequence_seconds: float
    rows: dict[str, metric.BlinkStatistics]
    comparisons: dict[str, Comparison]
    difference: Interval
    draws: dict[str, list[float]]
    conventions: dict[str, str]
    examples: dict[str, list[list[float]]]
    values: dict[str, dict[str, list[float]]]

    @property
    def natural(self) -> bool:
        """Whether rate, mean duration and variation of the long sequences are those of people."""
        low, high = BLINK_RATES
        short, long = BLINK_DURATIONS
        made = self.sequences
        within = low <= made.rate <= high and short <= made.duration <= long
        return within and made.interval_deviation >= BLINK_VARIATION

    @property
    def nearer(self) -> bool:
        """Whether the model is clearly nearer to the tracked clips than the constant-interval
        blinker: the interval of `difference` lies above 0, and in every draw the model's distance
        is at most `NEAR` of the other's.

        The first alone would not do: the interval is that of the tracked clips, so where two
        generators of one kind differ by their noise it can lie above 0 as well. Few clips hold too
        few intervals for it to lie above 0 at all: of three seconds sixty are enough, thirty not.
        """
        pairs = zip(self.draws[MODEL], self.draws[CONSTANT], strict=True)
        return self.difference.low > 0 and all(mine <= NEAR * other for mine, other in pairs)

    @property
    def passed(self) -> bool:
        """Natural and nearer."""
        return self.natural and self.nearer

    def to_json(self) -> str:
        """All fields and the three verdicts."""
        verdicts = {name: getattr(self, name) for name in ("natural", "nearer", "passed")}
        document = {"schema": SCHEMA, **dataclasses.asdict(self), **verdicts}
        return json.dumps(_plain(document), indent=1, allow_nan=False) + "\n"


def evaluate_blinks(
    generate: Generate,
    real: Sequence[Float[np.ndarray, " t"]],
    *,
    constant: Generate,
    speakers: Sequence[str] | None = None,
    sequences: int = 200,
    seconds: float = 10.0,
    permutations: int = 999,
    seed: int = 0,
) -> BlinkReport:
    """Measures a generator against the closure curves of held-out tracked clips.

    Args:
      generate: the model.
      real: tracked closure curves (`landmarks.blinks`), 25 fps.
      constant: the baseline, usually `ConstantBlinker.of` the training clips.
      speakers: who is seen in each curve; without, each is somebody else.
      sequences, seconds: how many tracks are generated in all `DRAWS`, and how long; more and
        longer ones where the clips need them.
      permutations: relabellings of the two-sample test.
      seed: of everything drawn.

    Raises:
      RecordError: there is no clip, or none of them holds a blink.
    """
    clips = _measured(real)
    if not any(clip.count for clip in clips):
        raise RecordError(
            f"{len(real)} tracked clips hold no blink to compare with; evaluate on more footage"
        )
    frames = max(round(seconds * FPS), max(map(len, real)))
    lengths = [len(curve) for curve in real]
    made = {
        name: _generated(generator, lengths, sequences=sequences, frames=frames, seed=seed)
        for name, generator in {MODEL: generate, CONSTANT: constant}.items()
    }
    draws = {name: [_measured(draw.pieces) for draw in found] for name, found in made.items()}
    measured = {name: [clip for draw in found for clip in draw] for name, found in draws.items()}
    people = speakers or [""] * len(real)
    comparisons, difference = _compare(
        clips, measured, speakers=people, permutations=permutations, seed=seed
    )
    tracks = [track for draw in made[MODEL] for track in draw.tracks]
    rows = {REAL: clips, **measured}
    examples = {REAL: list(real), **{name: found[0].pieces for name, found in made.items()}}
    return BlinkReport(
        sequences=metric.summarise(_measured(tracks)),
        sequence_seconds=frames / FPS,
        rows={name: metric.summarise(found) for name, found in rows.items()},
        comparisons=comparisons,
        difference=difference,
        draws={
            name: [metric.distance(clips, draw).total for draw in found]
            for name, found in draws.items()
        },
        conventions=_conventions(permutations),
        examples={name: _shown(curves) for name, curves in examples.items()},
        values={name: _values(found) for name, found in rows.items()},
    )


def _measured(curves: Sequence[np.ndarray]) -> list[metric.ClipBlinks]:
    return [metric.measure(curve) for curve in curves]


@dataclasses.dataclass(frozen=True)
class _Draw:
    """One set of noise: the generated tracks, and their pieces of the clips' lengths."""

    tracks: list[np.ndarray]
    pieces: list[np.ndarray]


def _generated(
    generate: Generate, lengths: Sequence[int], *, sequences: int, frames: int, seed: int
) -> list[_Draw]:
    """`DRAWS` of so many tracks of so many frames in all, or of more where the clips need them."""
    slots = frames // max(lengths)
    count = max(math.ceil(sequences / DRAWS), math.ceil(len(lengths) * _COPIES / slots))
    found = []
    for first in range(seed, seed + DRAWS * count, count):
        tracks = [np.asarray(generate(first + k, frames), np.float64) for k in range(count)]
        found.append(_Draw(tracks, list(_cut(tracks, lengths, slots=slots))))
    return found


def _cut(
    tracks: Sequence[np.ndarray], lengths: Sequence[int], *, slots: int
) -> Iterator[np.ndarray]:
    """Pieces of the tracks that do not overlap, of every length in turn: first one of each, then
    another of each, and so on to the last full turn."""
    width = len(tracks[0]) // slots
    starts = [(track, slot * width) for slot in range(slots) for track in tracks]
    turns = len(starts) // len(lengths)
    for number in range(turns * len(lengths)):
        track, start = starts[number]
        yield track[start : start + lengths[number % len(lengths)]]


def _compare(
    real: Sequence[metric.ClipBlinks],
    made: dict[str, list[metric.ClipBlinks]],
    *,
    speakers: Sequence[str],
    permutations: int,
    seed: int,
) -> tuple[dict[str, Comparison], Interval]:
    """Every generator's distance, interval and p-value, and the interval of the difference."""
    n = len(real)
    weights = bootstrap.draw_counts(speakers, seed=seed)
    resampled: dict[str, np.ndarray] = {}
    values: dict[str, float] = {}
    found = {}
    for name, clips in made.items():
        measure = metric.BlinkDistances([*real, *clips])
        theirs = np.concatenate([np.zeros(n), np.ones(len(clips))])
        parts = measure(1 - theirs, theirs)
        resampled[name] = np.array(
            [measure(np.concatenate([row, np.zeros(len(clips))]), theirs).total for row in weights]
        )
        values[name] = parts.total
        found[name] = Comparison(
            distance=_percentiles(parts.total, resampled[name], n),
            parts=parts,
            p_value=_p_value(measure, n, permutations=permutations, seed=seed),
        )
    gain = resampled[CONSTANT] - resampled[MODEL]
    return found, _percentiles(values[CONSTANT] - values[MODEL], gain, n)


def _percentiles(value: float, samples: np.ndarray, n: int) -> Interval:
    low, high = np.percentile(samples, [50 * (1 - bootstrap.LEVEL), 50 * (1 + bootstrap.LEVEL)])
    return Interval(value, float(low), float(high), n)


def _p_value(measure: metric.BlinkDistances, n: int, *, permutations: int, seed: int) -> float:
    """A permutation test within the groups of one real clip and its generated counterparts."""
    rng = np.random.default_rng(seed)
    copies = measure.clips // n - 1

    def total(real: np.ndarray) -> float:
        # Clip i and its counterparts stand at i, n + i, 2n + i and so on.
        mine = np.zeros((copies + 1, n))
        mine[real, np.arange(n)] = 1
        return measure(mine.ravel(), (1 - mine).ravel()).total

    observed = total(np.zeros(n, int))
    drawn = [total(rng.integers(0, copies + 1, n)) for _ in range(permutations)]
    return (1 + sum(value >= observed - 1e-12 for value in drawn)) / (1 + permutations)


def _conventions(permutations: int) -> dict[str, str]:
    return {
        "blinks": metric.CONVENTION,
        "intervals": bootstrap.CONVENTION + ", of the tracked clips",
        "p-values": f"{permutations} relabellings of tracked and generated clips of one length",
        "draws": f"{DRAWS} sets of noise together, and the distance of each",
    }


def _shown(curves: Sequence[np.ndarray]) -> list[list[float]]:
    return [np.round(curve, 3).tolist() for curve in curves[:_EXAMPLES]]


def _values(clips: Sequence[metric.ClipBlinks]) -> dict[str, list[float]]:
    return {
        "interval": [round(float(x), 4) for clip in clips for x in clip.intervals],
        "duration": [round(float(x), 4) for clip in clips for x in clip.durations],
        "count": [float(clip.count) for clip in clips],
    }


def _plain(value: Any) -> Any:
    """NaN and infinities as null, for JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
