"""How well a reader of emotions does on a split of people that it does not know."""

import dataclasses

import numpy as np
from jaxtyping import Float

from talkface_jax.data.dataset import PreparedDataset
from talkface_jax.features.emotion import NEUTRAL, EmotionReader
from talkface_jax.methods.emotion.blendshapes.view import label_of
from talkface_jax.metrics.emotion import confusion
from talkface_jax.records import EMOTIONS

FRAMES = 10
"""Single frames of a segment that are read, evenly spread."""
_LEVELS = (1, 2, 3)


@dataclasses.dataclass(frozen=True, eq=False)
class ReaderScores:
    """What a reader finds in whole segments, and in single frames.

    Attributes:
      segments, frames: (8, 8) true emotion by found emotion, counts.
      levels: share of whole segments found, by level, of all emotions but neutral; NaN without any.
      intensity_error: mean |intensity - level / 3| of the same segments.
      strengths: mean sum of the emotion vector's entries by level, that of neutral faces at 0.
    """

    segments: Float[np.ndarray, "8 8"]
    frames: Float[np.ndarray, "8 8"]
    levels: dict[int, float]
    intensity_error: float
    strengths: dict[int, float]


@dataclasses.dataclass(frozen=True)
class _Read:
    label: int
    intensity: float
    found: int
    strength: float
    read_intensity: float
    frames: tuple[int, ...]

    @property
    def level(self) -> int:
        return round(3 * self.intensity)


def score_reader(reader: EmotionReader, dataset: PreparedDataset) -> ReaderScores:
    """The scores of a split.

    Args:
      reader: what is judged.
      dataset: records with labels; those without a face are left out.

    Raises:
      ConfigError: a record without emotion or level.
    """
    reads = []
    for number in range(len(dataset)):
        segment = dataset.segment(number)
        label, intensity = label_of(segment)
        seen = np.flatnonzero(segment.valid)
        if not len(seen):
            continue
        whole = reader.read(segment.blendshapes, segment.valid)
        picks = np.unique(np.linspace(0, len(seen) - 1, FRAMES).round().astype(int))
        frames = [reader.classify(segment.blendshapes[[k]]) for k in seen[picks]]
        strength = float(whole.vector.sum())
        reads.append(
            _Read(label, intensity, whole.emotion, strength, whole.intensity, tuple(frames))
        )
    return _summary(reads)


def _summary(reads: list[_Read]) -> ReaderScores:
    shown = [item for item in reads if item.label != NEUTRAL]
    frames = [(found, item.label) for item in reads for found in item.frames]
    return ReaderScores(
        segments=_table([(item.found, item.label) for item in reads]),
        frames=_table(frames),
        levels={
            level: _mean([item.found == item.label for item in shown if item.level == level])
            for level in _LEVELS
        },
        intensity_error=_mean([abs(item.read_intensity - item.intensity) for item in shown]),
        strengths={
            level: _mean([item.strength for item in reads if item.level == level])
            for level in (0, *_LEVELS)
        },
    )


def _table(pairs: list[tuple[int, int]]) -> Float[np.ndarray, "8 8"]:
    found, true = np.array(pairs, np.int64).reshape(-1, 2).T
    return confusion(found, true, len(EMOTIONS))


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")


def accuracy(table: Float[np.ndarray, "8 8"]) -> float:
    """Share that is found, every emotion that occurs alike; NaN of an empty table."""
    rows = table.sum(1)
    seen = rows > 0
    return float((np.diag(table)[seen] / rows[seen]).mean()) if seen.any() else float("nan")
