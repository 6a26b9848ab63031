"""From prepared directories to batches: every window in a seeded global order, resumable exactly.

Windows are enumerated from the indices, without reading a record. The order of an epoch is a
shuffle by seed, a mixture interleaves the orders of its data sets, and every random draw of a
sample comes from (seed, position in the global order), so a batch has the same bytes whatever the
number of threads, of processes, or of resumes before it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.data.dataset import (
    Dataset,
    PreparedDataset,
    SegmentReader,
    Windows,
    enumerate_windows,
    open_dataset,
)
from talkface_jax.data.labels import check_labels
from talkface_jax.data.mixture import Mixture, Shares
from talkface_jax.data.sampler import SKIPPED, Part, Sample, Sampler, make_parts
from talkface_jax.data.workers import WorkerBatches
from talkface_jax.errors import RecordError
from talkface_jax.task import DataView

__all__ = [
    "CorruptRecords",
    "Dataset",
    "Mixture",
    "PreparedDataset",
    "Sample",
    "SegmentReader",
    "TrainIterator",
    "Windows",
    "enumerate_windows",
    "eval_batches",
    "open_dataset",
    "train_iterator",
    "view_windows",
]


class TrainIterator:
    """Endless batches of one process; its position is JSON-able (`get_state`, `set_state`).

    All processes have the same state after the same number of batches, and a state fits any number
    of processes, threads and workers, and any batch size.
    """

    def __init__(
        self,
        iterator: Any,
        order: Any,
        sampler: Sampler,
        *,
        identity: dict[str, Any],
        share: tuple[int, int],
        corrupt: CorruptRecords,
    ) -> None:
        """`order` gives the window of each position; `share` is (process, processes)."""
        self._iterator, self._order, self._sampler = iterator, order, sampler
        self._identity, self._share, self._corrupt = identity, share, corrupt

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> Sample:
        first = self._position
        batch = next(self._iterator)
        skipped = batch.pop(SKIPPED, None)
        if skipped is not None and skipped.any():
            self._report(first, skipped)
        return batch

    def get_state(self) -> dict[str, Any]:
        """The position behind the last batch that was handed out."""
        return {**self._identity, "global_next_index": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a position.

        Raises:
          RecordError: the position is of another data set, mixture, seed or window length.
        """
        identity = {key: value for key, value in state.items() if key != "global_next_index"}
        position = state.get("global_next_index")
        if identity != self._identity or not isinstance(position, int):
            raise RecordError(
                f"the data position {state} does not belong to this data set and seed "
                f"({self._identity}); resume with those that it was saved with, or start anew"
            )
        self._iterator.set_state({"global_next_index": position})

    def close(self) -> None:
        """Stops the reader threads and processes."""
        self._iterator.close()

    @property
    def _position(self) -> int:
        return int(self._iterator.get_state()["global_next_index"])

    def _report(self, first: int, skipped: np.ndarray) -> None:
        index, count = self._share
        for row in np.flatnonzero(skipped):
            position = first + index + int(row) * count
            window = int(self._order[position])
            self._sampler.report(position, window, int(skipped[row]), self._corrupt)


def train_iterator(
    dataset: Dataset | Mixture,
    view: DataView,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
    prefetch: int = 4,
    corrupt: CorruptRecords | None = None,
) -> TrainIterator:
    """Shuffled, augmented, endless batches.

    Sample i of the global order goes to process i mod `process_count`. Batches run across the ends
    of epochs, so a split smaller than one batch works; in a mixture each data set has epochs of its
    own.

    Args:
      dataset: one split, or a mixture of several.
      view: what to take of each window.
      batch_size: windows a batch, of this process.
      seed: of the order and of all draws.
      process_index, process_count: which share this process reads.
      threads: reader threads; 0 reads in the caller's thread.
      workers: reader processes in place of threads, which divide the cache; 0 for none. They need a
        main module that can be imported anew (a guarded `__main__`).
      prefetch: batches read ahead.
      corrupt: budget for records that cannot be read; none by default.

    Raises:
      RecordError: there is no window; also from `next`, where a record is damaged and the budget
        spent.
      ConfigError: a view that needs labels, and a clip without; and what a view itself raises, from
        `next`.
    """
    corrupt = CorruptRecords() if corrupt is None else corrupt
    mixture = dataset if isinstance(dataset, Mixture) else Mixture((dataset,))
    windows = [view_windows(part, view) for part in mixture.parts]
    parts = make_parts(mixture.parts, windows)
    order = _order(parts, mixture.weights, seed)
    sampler = Sampler(parts, view, seed=seed, max_corrupt=corrupt.limit)
    identity = _identity(mixture, windows, seed)
    share = process_index, process_count
    if workers:
        iterator = WorkerBatches(
            sampler.with_own_cache(mixture.parts[0].cache.limit // workers),
            order.__getitem__,
            batch_size=batch_size,
            share=share,
            workers=workers,
            ahead=prefetch,
        )
    else:
        iterator = _in_threads(
            order.map_with_index(sampler), batch_size, share, threads=threads, prefetch=prefetch
        )
    return TrainIterator(iterator, order, sampler, identity=identity, share=share, corrupt=corrupt)


def _identity(mixture: Mixture, windows: Sequence[Windows], seed: int) -> dict[str, Any]:
    """What a position belongs to; plain JSON."""
    identity: dict[str, Any] = {"windows": sum(map(len, windows)), "seed": seed}
    identities = [part.identity for part in mixture.parts]
    if len(windows) == 1:
        identity |= identities[0]
    elif any(identities):
        identity["parts"] = identities
    if len(windows) > 1:
        pairs = zip(windows, mixture.weights, strict=True)
        identity["mixture"] = [[len(own), weight] for own, weight in pairs]
    return identity


def view_windows(dataset: Dataset, view: DataView, *, stride: int = 1) -> Windows:
    """The windows that a view takes of a data set, which no record is read for.

    Raises:
      RecordError: there is none.
      ConfigError: the view needs labels and a clip has none.
    """
    if getattr(view, "labels", False):
        check_labels(dataset)
    return enumerate_windows(dataset, window=view.window, stride=stride, faces=view.faces)


def _in_threads(
    samples: Any, batch_size: int, share: tuple[int, int], *, threads: int, prefetch: int
) -> Any:
    """Grain's iterator over one process's batches; its state is the position in `samples`."""
    import grain
    from grain import experimental

    elastic = experimental.ElasticIterator(
        samples,
        batch_size * share[1],
        grain.sharding.ShardOptions(*share),
        read_options=grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch),
    )
    return iter(elastic)


def _order(parts: Sequence[Part], weights: Sequence[float], seed: int) -> Any:
    """Position -> window: each data set's own shuffled epochs, interleaved by the weights."""
    import grain

    # A data set that is read alone has the order of the plain seed.
    own = [seed, *np.random.SeedSequence(seed).generate_state(len(parts) - 1).tolist()]
    orders = [
        grain.MapDataset.range(part.first, part.first + len(part.windows))
        .seed(part_seed)
        .shuffle()
        .repeat()
        for part, part_seed in zip(parts, own, strict=True)
    ]
    if len(orders) == 1:
        return orders[0]
    shares: Any = Shares(weights, seed=seed)
    return grain.MapDataset.select_from_datasets(orders, shares)


def eval_batches(
    dataset: Dataset | Mixture,
    view: DataView,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    stride: int | None = None,
    batches: int = 0,
    corrupt: CorruptRecords | None = None,
) -> Iterator[Sample]:
    """Batches in order, without augmentation; `mask` (b,) is 1 for samples and 0 for padding.

    Every process yields the same number of batches; the last ones are padded with repeated samples.
    A sample in place of one whose record cannot be read has mask 0, too.

    Args:
      dataset: one split, or a mixture: its data sets one after the other, without weights.
      view: what to take of each window.
      batch_size: windows a batch, of this process.
      process_index, process_count: which share this process reads.
      stride: frames between windows; the window's length if None.
      batches: at most so many, of windows spread evenly over the split; 0 for all windows.
      corrupt: budget for records that cannot be read; none by default.

    Raises:
      RecordError: there is no window, or a record is damaged and the budget spent.
      ConfigError: a view that needs labels, and a clip without; and what a view itself raises.
    """
    corrupt = CorruptRecords() if corrupt is None else corrupt
    datasets = dataset.parts if isinstance(dataset, Mixture) else (dataset,)
    stride = stride or view.window
    windows = [view_windows(part, view, stride=stride) for part in datasets]
    sampler = Sampler(make_parts(datasets, windows), view, seed=0, max_corrupt=corrupt.limit)
    count = sum(map(len, windows))
    chosen = np.arange(count)
    total = batch_size * process_count
    if batches and count > batches * total:
        chosen = np.linspace(0, count - 1, batches * total).round().astype(int)
    for first in range(0, len(chosen), total):
        mine = first + process_index * batch_size + np.arange(batch_size)
        parts = []
        mask = mine < len(chosen)
        for row, number in enumerate(mine):
            window = int(chosen[min(number, len(chosen) - 1)])
            sample, skipped = sampler.fixed(window)
            if skipped:
                sampler.report_fixed(window, skipped, corrupt)
                mask[row] = False
            parts.append(sample)
        batch = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
        batch["mask"] = mask.astype(np.float32)
        yield batch
