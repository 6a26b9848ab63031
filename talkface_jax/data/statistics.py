"""What a prepared directory holds, counted."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from talkface_jax.data.inspect import Facts
from talkface_jax.data.manifest import Manifest
from talkface_jax.records import EMOTIONS, FPS

UNKNOWN = "unknown"


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
class Statistics:
    """Counts over the records that could be read.

    Attributes:
      splits: name -> its counts.
      total: of all splits; a speaker or clip of two splits counts once.
      emotions, levels, views, source_fps, source_rates: value -> clips, by name or number.
      parts: feature -> stored bytes, largest first.
      shard_sizes: bytes of the shards by the manifest, in its order.
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


def summarise(facts: Sequence[Facts], manifest: Manifest) -> Statistics:
    """Counts the records' facts."""
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
    )


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
