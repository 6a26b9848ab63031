"""What a prepared directory holds, counted."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from talkface_jax.data.inspect import Facts
from talkface_jax.data.manifest import Manifest
from talkface_jax.records import EMOTIONS, FPS

UNKNOWN = "unknown"
FRAME_MS = 1000 / FPS
# Below this confidence (`data_prep.quality.Quality.av_confidence`) an offset is a guess.
_CONFIDENT = 0.05
_FARTHEST = 5


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """One split; `valid` are frames with a face."""

    clips: int
    segments: int
    frames: int
    valid: int
    speakers: int

    @property
    def hours(self) -> float:
        """Of 25 frames a second."""
        return self.frames / FPS / 3600

    @property
    def face_share(self) -> float:
        """Share of the frames that show a face."""
        return self.valid / self.frames if self.frames else 0.0


@dataclasses.dataclass(frozen=True)
class Offset:
    """By how much the sound comes after the mouth (before it, where negative).

    Attributes:
      ms: median over the clips, weighted by confidence, in milliseconds.
      clips: how many clips it is the median of.
    """

    ms: float
    clips: int

    @classmethod
    def of(cls, measured: Sequence[tuple[float, float]]) -> Self:
        """Of (milliseconds, confidence) of at least one clip."""
        half, below = sum(weight for _, weight in measured) / 2, 0.0
        for ms, weight in sorted(measured):
            below += weight
            if below >= half:
                return cls(ms, len(measured))
        raise ValueError("no clip")


@dataclasses.dataclass(frozen=True)
class Offsets:
    """Offsets that were measured with some confidence.

    Attributes:
      all: of the whole set.
      farthest: the speakers whose offsets are farthest from 0, farthest first.
    """

    all: Offset
    farthest: Mapping[str, Offset]

    @property
    def note(self) -> str:
        """A sentence where the whole set is out of step by more than a frame, else ""."""
        if abs(self.all.ms) <= FRAME_MS:
            return ""
        side = "after" if self.all.ms > 0 else "before"
        return (
            f"the sound comes {abs(self.all.ms):.0f} ms {side} the mouth in the median of "
            f"{self.all.clips} clips, more than one frame ({FRAME_MS:.0f} ms); look at some with "
            "`talkface preview`"
        )


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Counts over the records that could be read.

    Attributes:
      splits: name -> its counts.
      total: of all splits; a speaker or clip of two splits counts once.
      emotions, levels, views, source_fps, source_rates: value -> clips, by name or number.
      parts: feature -> stored bytes, largest first.
      shard_sizes: bytes of the shards by the manifest, in its order.
      offsets: of the sound from the mouth, by clips.jsonl; None where none is known.
    """

    splits: Mapping[str, SplitStatistics]
    total: SplitStatistics
    emotions: Mapping[str, int]
    levels: Mapping[str, int]
    views: Mapping[str, int]
    source_fps: Mapping[str, int]
    source_rates: Mapping[str, int]
    parts: Mapping[str, int]
    shard_sizes: tuple[int, ...]
    offsets: Offsets | None = None


def summarise(
    facts: Sequence[Facts], manifest: Manifest, offsets: Iterable[tuple[str, float, float]] = ()
) -> Statistics:
    """Counts the records' facts.

    Args:
      facts: of every record that could be read.
      manifest: of the directory.
      offsets: speaker, milliseconds by which the sound comes after the mouth, and confidence of
        every clip on which that was measured.
    """
    parts: collections.Counter[str] = collections.Counter()
    for fact in facts:
        parts.update(fact.parts)
    clips = list({fact.clip: fact for fact in facts}.values())
    names = sorted({fact.info.split for fact in facts})
    return Statistics(
        splits={name: _split([f for f in facts if f.info.split == name]) for name in names},
        total=_split(facts),
        emotions=_count(_emotion(fact) for fact in clips),
        levels=_count(str(fact.info.level) if fact.info.level > 0 else UNKNOWN for fact in clips),
        views=_count(fact.info.view for fact in clips),
        source_fps=_count(f"{fact.source_fps:.4g}" for fact in clips),
        source_rates=_count(str(fact.source_rate) for fact in clips),
        parts=dict(parts.most_common()),
        shard_sizes=tuple(entry.size for entry in manifest.shards),
        offsets=_offsets(offsets),
    )


def _offsets(measured: Iterable[tuple[str, float, float]]) -> Offsets | None:
    by_speaker: dict[str, list[tuple[float, float]]] = {}
    for speaker, ms, confidence in measured:
        if confidence >= _CONFIDENT:
            by_speaker.setdefault(speaker, []).append((ms, confidence))
    if not by_speaker:
        return None
    speakers = {name: Offset.of(by_speaker[name]) for name in sorted(by_speaker)}
    farthest = sorted(speakers, key=lambda name: -abs(speakers[name].ms))[:_FARTHEST]
    every = [pair for pairs in by_speaker.values() for pair in pairs]
    return Offsets(Offset.of(every), {name: speakers[name] for name in farthest})


def _split(facts: Sequence[Facts]) -> SplitStatistics:
    return SplitStatistics(
        clips=len({fact.clip for fact in facts}),
        segments=len(facts),
        frames=sum(fact.frames for fact in facts),
        valid=sum(fact.valid for fact in facts),
        speakers=len({fact.info.speaker for fact in facts}),
    )


def _emotion(fact: Facts) -> str:
    known = 0 <= fact.info.emotion < len(EMOTIONS)
    return EMOTIONS[fact.info.emotion] if known else UNKNOWN


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))
