"""One split of a prepared directory: its records, what is remembered of them, and its windows."""

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talkface_jax.data import manifest as manifests
from talkface_jax.data import remedy
from talkface_jax.data.cache import Cache
from talkface_jax.data.corrupt import DamagedRecord
from talkface_jax.data.kept import Arrays, KeptArrays
from talkface_jax.data.reader import Opened, SegmentReader
from talkface_jax.data.relations import LazyRelations, Relations
from talkface_jax.data.schema import RecordMeta, decode
from talkface_jax.data.store import ShardSource
from talkface_jax.errors import RecordError
from talkface_jax.records import Segment

_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """Records that windows are read from.

    Attributes:
      cache: decoded parts, shared by all iterators.
      lookups: which records belong together.
    """

    cache: Cache
    lookups: LazyRelations

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What it is, for messages."""

    @property
    @abc.abstractmethod
    def remedies(self) -> tuple[str, str]:
        """What to do where it is damaged, and where it is too short."""

    @property
    def identity(self) -> dict[str, Any]:
        """What a position in it belongs to besides windows and seed; plain JSON."""
        return {}

    @property
    @abc.abstractmethod
    def metas(self) -> tuple[RecordMeta, ...]:
        """The index entries of the records, in the same order."""

    @abc.abstractmethod
    def segment(self, record: int) -> Segment:
        """One record, decoded.

        Raises:
          DamagedRecord: it is damaged, by file and number.
        """

    @abc.abstractmethod
    def name_of(self, record: int) -> str:
        """File and number of a record, for messages."""

    @abc.abstractmethod
    def open(self, record: int, opened: Opened) -> SegmentReader:
        """A reader of one record among those that a sample opened."""

    @property
    def relations(self) -> Relations:
        """Which records belong together."""
        return self.lookups.made

    def reader(self, record: int) -> SegmentReader:
        """A reader of one record, for one sample."""
        return Opened(self)[record]

    def damaged(self, record: int, error: Exception) -> DamagedRecord:
        """The error that names a record, for one that does not."""
        name = self.name_of(record)
        return DamagedRecord(f"{name}: {error}", record, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedDataset(Dataset):
    """One split of a prepared directory.

    Attributes:
      directory, split: what was opened.
      manifest: of the whole directory.
      source: the records' bytes.
      kept: arrays on disk that outlive the run, if any.
    """

    directory: pathlib.Path
    split: str
    manifest: manifests.Manifest
    source: ShardSource
    kept: KeptArrays | None = None

    def __len__(self) -> int:
        """Number of records (segments)."""
        return len(self.source)

    @property
    def title(self) -> str:
        """Split and folder, for messages."""
        return f"split {self.split} of {self.directory}"

    @property
    def remedies(self) -> tuple[str, str]:
        """Preparing anew, and preparing more."""
        return remedy.prepare_anew(self.directory), "prepare more or longer footage"

    @property
    def metas(self) -> tuple[RecordMeta, ...]:
        """The index entries of the records, in the same order."""
        return self.source.metas()

    def open(self, record: int, opened: Opened) -> SegmentReader:
        """A reader of one record among those that a sample opened."""
        # Several data sets may share a cache.
        key = str(self.directory), self.split, record
        keep = None if self.kept is None else functools.partial(self._keep, self.kept, record)
        return SegmentReader(
            key, lambda: self.segment(record), self.cache, keep, place=(record, opened)
        )

    def _keep(self, kept: KeptArrays, record: int, name: str, make: Callable[[], Arrays]) -> Arrays:
        shard, number = self.source.locate(record)
        return kept.get(name, self._hashes[shard], number, make)

    @functools.cached_property
    def _hashes(self) -> tuple[str, ...]:
        return tuple(shard.sha256 for shard in self.manifest.of_split(self.split))

    def segment(self, record: int) -> Segment:
        """One record, decoded.

        Raises:
          DamagedRecord: it is damaged, by file and number.
        """
        try:
            data = self.source[record]
        except RecordError as error:  # which names the record already
            raise DamagedRecord(str(error), record, self.name_of(record)) from error
        try:
            return decode(data)
        except RecordError as error:
            raise self.damaged(record, error) from error

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
    return PreparedDataset(
        directory=directory,
        split=split,
        manifest=manifest,
        source=source,
        cache=cache,
        lookups=LazyRelations(source.metas),
        kept=kept,
    )


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

    def holds(self, record: int) -> bool:
        """Whether any window lies in the record."""
        at = int(np.searchsorted(self._records, record))
        return at < len(self._records) and int(self._records[at]) == record

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
    dataset: Dataset, *, window: int, stride: int = 1, faces: bool = True
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
                f"no frame of {dataset.title} shows a face; give a data set that was prepared from "
                "videos of faces"
            )
        what = "frames with a face" if faces else "frames"
        raise RecordError(
            f"{dataset.title} has no {window} consecutive {what}; {dataset.remedies[1]}"
        )
    return windows
