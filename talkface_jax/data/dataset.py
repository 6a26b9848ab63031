"""One split of a prepared directory: its records, what is remembered of them, and its windows."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talkface_jax.data import manifest as manifests
from talkface_jax.data import remedy
from talkface_jax.data.cache import Cache
from talkface_jax.data.kept import Arrays, KeptArrays
from talkface_jax.data.schema import RecordMeta, decode
from talkface_jax.data.store import ShardSource
from talkface_jax.errors import RecordError
from talkface_jax.records import Segment

_MIB = 2**20


class SegmentReader:
    """One segment as a view sees it: decoded when needed, what is made of it remembered."""

    def __init__(
        self,
        key: Any,
        load: Callable[[], Segment],
        cache: Cache,
        keep: Callable[[str, Callable[[], Arrays]], Arrays] | None = None,
    ) -> None:
        """`keep(name, make)` gives what `make` does, from where it was kept for longer."""
        self._key, self._load, self._cache, self._keep = key, load, cache, keep
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

    def stored(self, name: str, make: Callable[[Segment], Arrays]) -> Arrays:
        """The same for arrays that are costly to make: where a run keeps those on disk, they are
        read from there, and the segment is not.

        `name` must tell apart versions and weights too, for what is kept outlives the run.
        """

        def made() -> Arrays:
            return make(self.segment)

        keep = self._keep
        load = made if keep is None else lambda: keep(name, made)
        return self._cache.get((self._key, name), load)


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """One split of a prepared directory.

    Attributes:
      directory, split: what was opened.
      manifest: of the whole directory.
      source: the records' bytes.
      cache: decoded parts, shared by all iterators.
      kept: arrays on disk that outlive the run, if any.
    """

    directory: pathlib.Path
    split: str
    manifest: manifests.Manifest
    source: ShardSource
    cache: Cache
    kept: KeptArrays | None = None

    def __len__(self) -> int:
        """Number of records (segments)."""
        return len(self.source)

    @property
    def metas(self) -> tuple[RecordMeta, ...]:
        """The index entries of the records, in the same order."""
        return self.source.metas()

    def reader(self, record: int) -> SegmentReader:
        """A reader of one record."""
        # Several data sets may share a cache.
        key = str(self.directory), self.split, record
        keep = None if self.kept is None else functools.partial(self._keep, self.kept, record)
        return SegmentReader(key, lambda: self.segment(record), self.cache, keep)

    def _keep(self, kept: KeptArrays, record: int, name: str, make: Callable[[], Arrays]) -> Arrays:
        shard, number = self.source.locate(record)
        return kept.get(name, self._hashes[shard], number, make)

    @functools.cached_property
    def _hashes(self) -> tuple[str, ...]:
        return tuple(shard.sha256 for shard in self.manifest.of_split(self.split))

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
    kept: KeptArrays | None = None,
) -> PreparedDataset:
    """Opens one split, checking manifest and indices but reading no record.

    Args:
      directory: output of `talkface prepare`.
      split: one of its splits.
      cache_mb: memory for decoded parts, in MiB.
      cache: where to keep them instead, shared with other data sets.
      kept: where to keep on disk what is costly to make; in memory only if None.

    Raises:
      RecordError: a remote directory, no manifest, no such split, or a shard or index that is
        missing, truncated or altered.
    """
    if "://" in str(directory):
        raise RecordError(
            f"{directory} is not on this machine, and its records are read at random; copy it to a "
            "local folder or mount it, and give that folder"
        )
    directory = pathlib.Path(directory)
    manifest = manifests.read_manifest(directory)
    shards = manifest.of_split(split)
    manifests.check_sizes(directory, shards)
    source = ShardSource([directory / shard.name for shard in shards])
    expected = sum(shard.records for shard in shards)
    if len(source) != expected:
        raise RecordError(
            f"split {split} of {directory} has {len(source)} indexed records, its manifest says "
            f"{expected}; {remedy.prepare_anew(directory)}"
        )
    cache = Cache(cache_mb * _MIB) if cache is None else cache
    return PreparedDataset(directory, split, manifest, source, cache, kept)


class Windows:
    """All windows of a split, in the order of the records; record and first frame by number.

    Kept as stretches of valid frames, of which there is about one a record, and not window by
    window: 300 hours have tens of millions of windows, and every reader process a copy of this.
    """

    def __init__(
        self, runs: Sequence[Sequence[tuple[int, int]]], *, window: int, stride: int = 1
    ) -> None:
        """`runs` are those of each record: first frame and length of a stretch of valid frames."""
        per_record = np.array([len(own) for own in runs], np.int64)
        flat = np.array([run for own in runs for run in own], np.int64).reshape(-1, 2)
        counts = np.maximum((flat[:, 1] - window) // stride + 1, 0)
        used = counts > 0
        self._records = np.repeat(np.arange(len(runs), dtype=np.int32), per_record)[used]
        self._firsts = flat[used, 0].astype(np.int32)
        self._ends = np.cumsum(counts[used])
        self._stride = stride
        self.readable = len(np.unique(self._records))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, window: int) -> tuple[int, int]:
        """Number of the record, and the window's first frame in it."""
        if not 0 <= window < len(self):
            raise IndexError(window)
        run = int(np.searchsorted(self._ends, window, side="right"))
        number = window - (int(self._ends[run - 1]) if run else 0)
        return int(self._records[run]), int(self._firsts[run]) + number * self._stride


def enumerate_windows(
    dataset: PreparedDataset, *, window: int, stride: int = 1, faces: bool = True
) -> Windows:
    """The windows, in the order of the records; with `faces`, those of valid frames only.

    Raises:
      RecordError: there is none.
    """
    runs = [meta.runs if faces else ((0, meta.frames),) for meta in dataset.metas]
    windows = Windows(runs, window=window, stride=stride)
    if not len(windows):
        if faces and not any(runs):
            raise RecordError(
                f"no frame of split {dataset.split} of {dataset.directory} shows a face; give a "
                "data set that was prepared from videos of faces"
            )
        what = "frames with a face" if faces else "frames"
        raise RecordError(
            f"split {dataset.split} of {dataset.directory} has no {window} consecutive {what}; "
            "prepare more or longer footage"
        )
    return windows
