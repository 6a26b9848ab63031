"""From a prepared directory to batches: every window in a seeded global order, resumable exactly.

Windows are enumerated from the indices, without reading a record. The order of an epoch is a
shuffle by seed, and every random draw of a sample comes from (seed, position in the global order),
so a batch has the same bytes whatever the number of threads, of processes, or of resumes before it.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
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
from talkface_jax.task import DataView

Sample = dict[str, np.ndarray]
_MIB = 2**20


class SegmentReader:
    """One segment as a view sees it: decoded when needed, what is made of it remembered."""

    def __init__(self, key: int, load: Callable[[], Segment], cache: Cache) -> None:
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
        return SegmentReader(record, lambda: self.segment(record), self.cache)

    def segment(self, record: int) -> Segment:
        """One record, decoded.

        Raises:
          RecordError: it is damaged, by file and number.
        """
        data = self.source[record]
        try:
            return decode(data)
        except RecordError as error:
            shard, number = self.source.locate(record)
            raise RecordError(f"{self.source.paths[shard]}, record {number}: {error}") from error


def open_dataset(
    directory: str | pathlib.Path, split: str, *, cache_mb: int = 1024
) -> PreparedDataset:
    """Opens one split, checking manifest and indices but reading no record.

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
    return PreparedDataset(directory, split, manifest, source, metas, Cache(cache_mb * _MIB))


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


class _Sampler:
    """Window number and position in the global order -> sample."""

    def __init__(
        self, dataset: PreparedDataset, view: DataView, windows: Windows, seed: int
    ) -> None:
        self._dataset, self._view, self._windows, self._seed = dataset, view, windows, seed

    def __call__(self, position: int, window: int) -> Sample:
        return self._sample(int(window), (self._seed, int(position)), train=True)

    def fixed(self, window: int) -> Sample:
        """The sample without augmentation; any draw depends on the window alone."""
        return self._sample(window, (0, window), train=False)

    def _sample(self, window: int, entropy: tuple[int, int], *, train: bool) -> Sample:
        reader = self._dataset.reader(int(self._windows.records[window]))
        rng = np.random.Generator(np.random.PCG64(entropy))
        return self._view.sample(reader, int(self._windows.starts[window]), rng, train=train)


class TrainIterator:
    """Endless batches of one process; its position is JSON-able (`get_state`, `set_state`).

    All processes have the same state after the same number of batches, and a state fits any number
    of processes and any batch size.
    """

    def __init__(self, iterator: Any, *, windows: int, seed: int) -> None:
        self._iterator = iterator
        self._identity = {"windows": windows, "seed": seed}

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> Sample:
        return next(self._iterator)

    def get_state(self) -> dict[str, int]:
        """The position behind the last batch that was handed out."""
        return {**self._identity, "global_next_index": int(_position(self._iterator.get_state()))}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes on from a position.

        Raises:
          RecordError: the position is of another data set, seed or window length.
        """
        identity = {key: state.get(key) for key in self._identity}
        if identity != self._identity or not isinstance(state.get("global_next_index"), int):
            raise RecordError(
                f"the data position {state} does not belong to this data set and seed "
                f"({self._identity}); resume with those that it was saved with, or start anew"
            )
        self._iterator.set_state({"global_next_index": state["global_next_index"]})

    def close(self) -> None:
        """Stops the reader threads."""
        self._iterator.close()


def _position(state: dict[str, Any]) -> int:
    return state["global_next_index"]


def train_iterator(
    dataset: PreparedDataset,
    view: DataView,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    prefetch: int = 4,
) -> TrainIterator:
    """Shuffled, augmented, endless batches.

    Sample i of the global order goes to process i mod `process_count`. Batches run across the ends
    of epochs, so a split smaller than one batch works.

    Args:
      dataset: one split.
      view: what to take of each window.
      batch_size: windows a batch, of this process.
      seed: of the order and of all draws.
      process_index, process_count: which share this process reads.
      threads: reader threads; 0 reads in the caller's thread.
      prefetch: batches read ahead.

    Raises:
      RecordError: there is no window; also from `next`, where a record is damaged.
    """
    import grain
    from grain import experimental

    windows = enumerate_windows(dataset, window=view.window)
    samples = (
        grain.MapDataset.range(len(windows))
        .seed(seed)
        .shuffle()
        .repeat()
        .map_with_index(_Sampler(dataset, view, windows, seed))
    )
    elastic = experimental.ElasticIterator(
        samples,
        batch_size * process_count,
        grain.sharding.ShardOptions(process_index, process_count),
        read_options=grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch),
    )
    return TrainIterator(iter(elastic), windows=len(windows), seed=seed)


def eval_batches(
    dataset: PreparedDataset,
    view: DataView,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    stride: int | None = None,
    batches: int = 0,
) -> Iterator[Sample]:
    """Batches in order, without augmentation; `mask` (b,) is 1 for samples and 0 for padding.

    Every process yields the same number of batches; the last ones are padded with repeated samples.

    Args:
      dataset: one split.
      view: what to take of each window.
      batch_size: windows a batch, of this process.
      process_index, process_count: which share this process reads.
      stride: frames between windows; the window's length if None.
      batches: at most so many, of windows spread evenly over the split; 0 for all windows.

    Raises:
      RecordError: there is no window, or a record is damaged.
    """
    windows = enumerate_windows(dataset, window=view.window, stride=stride or view.window)
    sampler = _Sampler(dataset, view, windows, 0)
    chosen = np.arange(len(windows))
    total = batch_size * process_count
    if batches and len(chosen) > batches * total:
        chosen = np.linspace(0, len(windows) - 1, batches * total).round().astype(int)
    for first in range(0, len(chosen), total):
        mine = first + process_index * batch_size + np.arange(batch_size)
        parts = [sampler.fixed(int(chosen[min(i, len(chosen) - 1)])) for i in mine]
        batch = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
        batch["mask"] = (mine < len(chosen)).astype(np.float32)
        yield batch
