"""Generated blinks against tracked ones: rates, durations, and a two-sample test with a baseline.

The baseline is a constant-interval blinker: the mean blink of the training tracks at their mean
interval, in random phase. Tracked clips are short, and a short clip holds short intervals only; so
generated tracks are cut to the lengths of the tracked clips before anything is compared.

Schema of blinks.json (version 1; NaN is written as null): the fields of `BlinkReport`.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from talkface_jax.capabilities import BLINK_DURATIONS, BLINK_RATES
from talkface_jax.errors import RecordError
from talkface_jax.evaluate import bootstrap
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.landmarks import blinks
from talkface_jax.metrics import blink as metric
from talkface_jax.records import FPS

SCHEMA = 1
REAL = "ground-truth"
MODEL = "model"
CONSTANT = "constant-interval"
ROWS = {
    REAL: "closure of the eyes in the tracked clips",
    MODEL: "generated from noise, cut to the lengths of the clips",
    CONSTANT: "the training data's mean blink at its mean interval, in random phase, cut likewise",
}
SIGNIFICANT = 0.05
_COPIES = 16
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
      distance: total energy distance, with its bootstrap interval over the tracked clips.
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
      sequences: of the generated long sequences, before any cut.
      sequence_seconds: length of each.
      rows: statistics of the tracked clips and of both generators cut to their lengths.
      comparisons: by generator.
      difference: distance of the constant-interval blinker minus that of the model, over the same
        resampled clips; above 0 the model is nearer.
      conventions: how it was measured.
      examples: a few closure curves by row, for the figure.
      values: intervals and durations in seconds by row, for the figure.
    """

    sequences: metric.BlinkStatistics
    sequence_seconds: float
    rows: dict[str, metric.BlinkStatistics]
    comparisons: dict[str, Comparison]
    difference: Interval
    conventions: dict[str, str]
    examples: dict[str, list[list[float]]]
    values: dict[str, dict[str, list[float]]]

    @property
    def natural(self) -> bool:
        """Whether rate and mean duration of the long sequences are those of people."""
        low, high = BLINK_RATES
        short, long = BLINK_DURATIONS
        made = self.sequences
        return low <= made.rate <= high and short <= made.duration <= long

    @property
    def nearer(self) -> bool:
        """Whether the model is nearer to the tracked clips than the constant-interval blinker.

        Its distance is the smaller one, their intervals apart; or, where the clips are too few for
        that, the two-sample test tells the constant-interval blinker from them and not the model.
        """
        model, constant = self.comparisons[MODEL], self.comparisons[CONSTANT]
        told_apart = constant.p_value < SIGNIFICANT <= model.p_value
        apart = model.distance.high < constant.distance.low
        return apart or (told_apart and self.difference.value > 0)

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
      sequences, seconds: how many tracks are generated for the statistics, and how long; more and
        longer ones where the clips need them.
      permutations: relabellings of the two-sample test.
      seed: of everything drawn.

    Raises:
      RecordError: there is no clip, or none of them holds a blink.
    """
    clips = [metric.measure(curve) for curve in real]
    if not any(clip.count for clip in clips):
        raise RecordError(
            f"{len(real)} tracked clips hold no blink to compare with; evaluate on more footage"
        )
    frames = max(round(seconds * FPS), max(map(len, real)))
    generators = {MODEL: generate, CONSTANT: constant}
    tracks, pieces = _generated(
        generators, [len(curve) for curve in real], sequences=sequences, frames=frames, seed=seed
    )
    measured = {name: [metric.measure(piece) for piece in cut] for name, cut in pieces.items()}
    comparisons, difference = _compare(clips, measured, permutations=permutations, seed=seed)
    rows = {REAL: clips, **measured}
    examples = {REAL: list(real), **pieces}
    return BlinkReport(
        sequences=metric.summarise([metric.measure(track) for track in tracks]),
        sequence_seconds=frames / FPS,
        rows={name: metric.summarise(found) for name, found in rows.items()},
        comparisons=comparisons,
        difference=difference,
        conventions={
            "blinks": metric.CONVENTION,
            "intervals": bootstrap.CONVENTION + ", of the tracked clips",
            "p-values": f"{permutations} relabellings of tracked and generated clips of one length",
        },
        examples={
            name: [np.round(curve, 3).tolist() for curve in curves[:_EXAMPLES]]
            for name, curves in examples.items()
        },
        values={name: _values(found) for name, found in rows.items()},
    )


def _generated(
    generators: dict[str, Generate],
    lengths: Sequence[int],
    *,
    sequences: int,
    frames: int,
    seed: int,
) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]]]:
    """The model's sequences of so many frames, and every generator's tracks cut to the lengths."""
    slots = frames // max(lengths)
    count = max(sequences, math.ceil(len(lengths) * _COPIES / slots))
    tracks = {
        name: [np.asarray(generate(seed + k, frames), np.float64) for k in range(count)]
        for name, generate in generators.items()
    }
    pieces = {name: list(_cut(made, lengths, slots=slots)) for name, made in tracks.items()}
    return tracks[MODEL][:sequences], pieces


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
    permutations: int,
    seed: int,
) -> tuple[dict[str, Comparison], Interval]:
    """Every generator's distance, interval and p-value, and the interval of the difference."""
    n = len(real)
    draws = np.random.default_rng(seed).integers(0, n, (bootstrap.RESAMPLES, n))
    weights = np.stack([np.bincount(draw, minlength=n) for draw in draws])
    resampled: dict[str, np.ndarray] = {}
    values: dict[str, float] = {}
    found = {}
    for name, clips in made.items():
        measure = metric.BlinkDistances([*real, *clips])
        theirs = np.concatenate([np.zeros(n), np.ones(len(clips))])
        parts = measure(1 - theirs, theirs)
        resampled[name] = np.array(
            [
                measure(np.concatenate([row, np.zeros(len(clips))]), theirs).total
                for row in weights.astype(float)
            ]
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
