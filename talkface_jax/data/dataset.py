"""One split of a prepared directory: its records, what is remembered of them, and its windows."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from talkface_jax.data import manifest as manifests
from talkface_jax.data.cache import Cache
from talkface_jax.data.schema import RecordMeta, decode
from talkface_jax.data.store import ShardSource
from talkface_jax.data.transforms import window_starts
from talkface_jax.errors import RecordError
from talkface_jax.records import Segment

_MIB = 2**20


class SegmentReader:
    """One segment as a view sees it: decoded when needed, what is made of it remembered."""

    def __init__(self, key: Any, load: Callable[[], Segment], cache: Cache) -> None:
        self._key, self._load, self._cache = key, load, cache
        self._segment: Segment | None = None

    @classmethod
    def of(cls, segment: Segment) -> "SegmentReader":
        """A reader of a segment that is already in memory."""
        return cls(0, lambda: segment, Cache(2**62))

    @property
    def segment(self) -> Segment:
        """The decoded record; not kept beyond this reader."""
        if self._segment is None:
            self._segment = self._load()
        return self._segment

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The JPEG crops, kept in the cache."""
        return self.derived("frames", lambda segment: segment.frames)

    def derived(self, name: str, make: Callable[[Segment], Any]) -> Any:
        """`make(segment)`, kept in the cache under `name`, which must tell its options apart."""
        return self._cache.get((self._key, name), lambda: make(self.segment))


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """One split of a prepared directory.

    Attributes:
      directory, split: what was opened.
      manifest: of the whole directory.
      source: the records' bytes.
      metas: the index entries of the records, in the same order.
      cache: decoded parts, shared by all iterators.
    """

    directory: pathlib.Path
    split: str
    manifest: manifests.Manifest
    source: ShardSource
    metas: tuple[RecordMeta, ...]
    cache: Cache

    def __len__(self) -> int:
        """Number of records (segments)."""
        return len(self.source)

    def reader(self, record: int) -> SegmentReader:
        """A reader of one record."""
        # Several data sets may share a cache.
        key = str(self.directory), self.split, record
        return SegmentReader(key, lambda: self.segment(record), self.cache)

    def segment(self, record: int) -> Segment:
        """One record, decoded.

        Raises:
          RecordError: it is damaged, by file and number.
        """
        data = self.source[record]
        try:
            return decode(data)
        except RecordError as error:
            raise RecordError(f"{self.name_of(record)}: {error}") from error

    def name_of(self, record: int) -> str:
        """File and number of a record, for messages."""
        shard, number = self.source.locate(record)
        return f"{self.source.paths[shard]}, record {number}"


def open_dataset(
    directory: str | pathlib.Path,
    split: str,
    *,
    cache_mb: int = 1024,
    cache: Cache | None = None,
) -> PreparedDataset:
    """Opens one split, checking manifest and indices but reading no record.

    Args:
      directory: output of `talkface prepare`.
      split: one of its splits.
      cache_mb: memory for decoded parts, in MiB.
      cache: where to keep them instead, shared with other data sets.

    Raises:
      RecordError: no manifest, no such split, or a shard or index that is missing, truncated or
        altered.
    """
    directory = pathlib.Path(directory)
    manifest = manifests.read_manifest(directory)
    shards = manifest.of_split(split)
    manifests.check_sizes(directory, shards)
    source = ShardSource([directory / shard.name for shard in shards])
    metas = tuple(source.metas())
    expected = sum(shard.records for shard in shards)
    if len(metas) != expected:
        raise RecordError(
            f"split {split} of {directory} has {len(metas)} indexed records, its manifest says "
            f"{expected}; run `talkface prepare` again"
        )
    kept = Cache(cache_mb * _MIB) if cache is None else cache
    return PreparedDataset(directory, split, manifest, source, metas, kept)


@dataclasses.dataclass(frozen=True)
class Windows:
    """All windows of a split: record number and first frame of each."""

    records: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.records)


def enumerate_windows(dataset: PreparedDataset, *, window: int, stride: int = 1) -> Windows:
    """The windows of valid frames, in the order of the records.

    Raises:
      RecordError: there is none.
    """
    starts = [window_starts(meta.runs, window=window, stride=stride) for meta in dataset.metas]
    windows = Windows(
        np.repeat(np.arange(len(starts), dtype=np.int32), [len(part) for part in starts]),
        np.concatenate(starts).astype(np.int32),
    )
    if not len(windows):
        raise RecordError(
            f"split {dataset.split} of {dataset.directory} has no {window} consecutive frames with "
            "a face; prepare more or longer footage"
        )
    return windows
