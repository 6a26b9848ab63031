"""Segments in memory as a data set: what a run trains on that needs no preparation."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from talkface_jax.data.cache import Cache
from talkface_jax.data.dataset import Dataset
from talkface_jax.data.reader import Opened, SegmentReader
from talkface_jax.data.relations import LazyRelations
from talkface_jax.data.schema import RecordMeta, encode, record_meta
from talkface_jax.errors import RecordError
from talkface_jax.records import Segment

_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryDataset(Dataset):
    """A few segments, numbered in their order.

    Attributes:
      segments: the records.
    """

    segments: tuple[Segment, ...]

    @property
    def title(self) -> str:
        """That they are in memory, for messages."""
        return "the set in memory"

    @property
    def remedies(self) -> tuple[str, str]:
        """Giving others, and giving longer ones."""
        return "give other segments", "give longer segments"

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """A digest of the segments: there is no manifest to tell them apart."""
        found = hashlib.sha256()
        for segment in self.segments:
            found.update(encode(segment))
        return {"segments": found.hexdigest()}

    @functools.cached_property
    def metas(self) -> tuple[RecordMeta, ...]:
        """Made of the segments."""
        return tuple(map(record_meta, self.segments))

    def open(self, record: int, opened: Opened) -> SegmentReader:
        """A reader of one segment among those that a sample opened."""
        key = "memory", id(self.segments), record
        return SegmentReader(key, lambda: self.segment(record), self.cache, place=(record, opened))

    def segment(self, record: int) -> Segment:
        """One of the segments."""
        return self.segments[record]

    def name_of(self, record: int) -> str:
        """Clip and first frame of a segment, for messages."""
        meta = self.metas[record]
        return f"the segment of {meta.clip} at frame {meta.start}"


def hold(segments: Sequence[Segment], *, cache_mb: int = 1024) -> MemoryDataset:
    """A data set of segments in memory.

    Args:
      segments: at least one; those of a clip say so by their `info` and `start`.
      cache_mb: memory for what views make of them, in MiB.

    Raises:
      RecordError: there is none.
    """
    if not segments:
        raise RecordError("a set in memory got no segment; give at least one")
    held = tuple(segments)
    # Of the segments and not of the set, which would then refer to itself.
    lookups = LazyRelations(lambda: tuple(map(record_meta, held)))
    return MemoryDataset(cache=Cache(cache_mb * _MIB), lookups=lookups, segments=held)
