"""Where the loop gets its batches from."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from talkface_jax.config import DataConfig, ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.records import Segment
from talkface_jax.task import DataView, Sample

HostBatch = Mapping[str, np.ndarray]
VAL, TEST = "val", "test"
_SHARE = "--val-share=0.1 (two speakers or more)"
_REMEDIES = {
    **dict.fromkeys(("synthetic", "speech"), "--val-clips=8"),
    "folder": f"{_SHARE} or clips of split {VAL} in its metadata.csv",
}
"""What gives a data set a val split, where that is not `_SHARE`."""
_NO_EVALUATION = (
    "--config.train.eval_every=0 --config.train.preview_every=0 --config.train.best_metric="
)


class TrainBatches(Protocol):
    """An endless iterator whose position is plain JSON."""

    def __next__(self) -> HostBatch:
        """This process's rows of the next global batch."""
        ...

    def get_state(self) -> dict[str, Any]:
        """The position after the last batch taken."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        ...

    def close(self) -> None:
        """Ends its threads."""
        ...


class Source(Protocol):
    """A data set as the loop sees it."""

    @property
    def lineage(self) -> dict[str, Any]:
        """Which data these are and under what licence; plain JSON, stored with every checkpoint."""
        ...

    def train(self, view: DataView, *, batch_size: int, seed: int) -> TrainBatches:
        """Shuffled batches; `batch_size` is this process's share."""
        ...

    def evaluation(self, view: DataView, *, batch_size: int) -> Iterator[HostBatch]:
        """One ordered pass; `batch["mask"]` is 0 on padding. All processes give equally many."""
        ...

    def spread(self, view: DataView, *, limit: int) -> Iterator[Sample]:
        """At most `limit` training samples without augmentation, the same on every process."""
        ...


class PreparedSource:
    """The splits of the prepared directories that a config names.

    All of them share one cache, one folder of features and one budget for corrupt records.

    Raises:
      ConfigError: the config names no directory, one of them has no val split and is to be
        evaluated by it, or the folder of features cannot be made.
      RecordError: a directory is missing or damaged, or has no such split.
    """

    def __init__(self, config: DataConfig, *, evaluates: bool = True):
        """Opens the splits; with `evaluates` that of the evaluation too, so that a missing one is
        refused before training and not at the first evaluation."""
        from talkface_jax.data import pipeline
        from talkface_jax.data.cache import Cache
        from talkface_jax.data.kept import KeptArrays

        if not (config.directory or config.mixture):
            raise ConfigError(
                "config: data.directory is empty; set --config.data.directory=DIR to the output of "
                "`talkface prepare`"
            )
        self._config = config
        self._pipeline = pipeline
        self._cache = Cache(config.cache_mb * 2**20)
        self._kept = KeptArrays.open(config.features_dir)
        self._corrupt = pipeline.CorruptRecords(config.max_corrupt)
        self._train = self._open(config.train_split)
        if evaluates:
            self._require_val()
        self._eval: Any = self._open(config.eval_split) if evaluates else None

    def _open(self, split: str) -> Any:
        config = self._config
        parts = tuple(
            self._pipeline.open_dataset(directory, split, cache=self._cache, kept=self._kept)
            for directory in config.mixture or (config.directory,)
        )
        return self._pipeline.Mixture(parts, config.weights or (1.0,))

    def _require_val(self) -> None:
        """Says what to do where the split that is wanted by default is missing."""
        for part in self._train.parts:
            splits = part.manifest.splits
            if self._config.eval_split != VAL or VAL in splits:
                continue
            remedy = _REMEDIES.get(part.manifest.dataset, _SHARE)
            # What is reported of test is worth nothing once test has chosen the checkpoint.
            older = (
                ", or, only to go on with an older run as it was, give --config.data.eval_split="
            )
            raise ConfigError(
                f"{part.directory} has no split {VAL!r} to choose checkpoints by (it has: "
                f"{', '.join(splits)}); prepare it into another folder with {remedy}, or evaluate "
                f"nothing in training ({_NO_EVALUATION}){older + TEST if TEST in splits else ''}"
            )

    @property
    def lineage(self) -> dict[str, Any]:
        """The manifest: data set, licences, origin, tools, and the sha256 of every shard.

        Of a mixture: `mixture`, the list of the manifests, each with its `weight`.
        """
        parts = [dataclasses.asdict(part.manifest) for part in self._train.parts]
        # Through JSON: a checkpoint's description must hold plain values.
        if not self._config.mixture:
            return json.loads(json.dumps(parts[0]))
        pairs = zip(parts, self._config.weights, strict=True)
        mixture = [{**manifest, "weight": weight} for manifest, weight in pairs]
        return json.loads(json.dumps({"mixture": mixture}))

    def train(self, view: DataView, *, batch_size: int, seed: int) -> TrainBatches:
        """Shuffled by `seed`, each process its own windows.

        Raises:
          RecordError: the training split has no window, or that of the evaluation, which is looked
            at here and not at the first evaluation.
          ConfigError: the view needs labels, and a clip of either split has none.
        """
        for part in self._eval.parts if self._eval is not None else ():
            self._pipeline.view_windows(part, view)
        return self._pipeline.train_iterator(
            self._train,
            view,
            batch_size=batch_size,
            seed=seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self._config.threads,
            workers=self._config.workers,
            prefetch=self._config.prefetch,
            corrupt=self._corrupt,
        )

    def evaluation(self, view: DataView, *, batch_size: int) -> Iterator[HostBatch]:
        """Without augmentation, spread over the split where `eval_batches` limits it."""
        if self._eval is None:
            self._eval = self._open(self._config.eval_split)
        return self._pipeline.eval_batches(
            self._eval,
            view,
            batch_size=batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            batches=self._config.eval_batches,
            corrupt=self._corrupt,
        )

    def spread(self, view: DataView, *, limit: int) -> Iterator[Sample]:
        """Evenly spread over the training split; sample by sample."""
        return _one_by_one(
            self._pipeline.eval_batches(
                self._train, view, batch_size=1, batches=limit, corrupt=self._corrupt
            )
        )


def prepared_source(config: ExperimentConfig) -> PreparedSource:
    """The prepared directories of a run, with the split of the evaluation where it evaluates.

    Raises:
      ConfigError, RecordError: as `PreparedSource`.
    """
    train = config.train
    evaluates = bool(train.eval_every or train.preview_every or train.best_metric)
    return PreparedSource(config.data, evaluates=evaluates)


class HeldSource:
    """Data sets in memory as a source: one to train on, one to evaluate.

    Args:
      trained, evaluated: the data sets; they may be the same.
      lineage: what they are and under what licence, in plain JSON.
      threads: that read them, and do not change what is read.
    """

    def __init__(
        self, trained: Any, evaluated: Any, *, lineage: Mapping[str, Any], threads: int = 2
    ):
        from talkface_jax.data import pipeline

        self._pipeline = pipeline
        self._train, self._eval = trained, evaluated
        self._lineage = json.dumps(dict(lineage))
        self._threads = threads

    @property
    def lineage(self) -> dict[str, Any]:
        """What was given as such."""
        return json.loads(self._lineage)

    def train(self, view: DataView, *, batch_size: int, seed: int) -> TrainBatches:
        """Shuffled by `seed`, each process its own windows; across the ends of epochs, however few
        windows there are.

        Raises:
          ConfigError: a view that needs labels, and a segment without.
          RecordError: no segment has a window.
        """
        return self._pipeline.train_iterator(
            self._train,
            view,
            batch_size=batch_size,
            seed=seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self._threads,
        )

    def evaluation(self, view: DataView, *, batch_size: int) -> Iterator[HostBatch]:
        """Without augmentation, windows end to end; the rest of the last batch is padding."""
        return self._pipeline.eval_batches(
            self._eval,
            view,
            batch_size=batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def spread(self, view: DataView, *, limit: int) -> Iterator[Sample]:
        """Evenly spread over what is trained on; sample by sample."""
        return _one_by_one(
            self._pipeline.eval_batches(self._train, view, batch_size=1, batches=limit)
        )


class SegmentSource(HeldSource):
    """A few segments in memory, for training and evaluation alike; they need no preparation.

    Raises:
      RecordError: there is no segment.
    """

    def __init__(
        self, segments: Sequence[Segment], *, lineage: Mapping[str, Any], threads: int = 2
    ):
        """`lineage` and `threads` as in `HeldSource`."""
        from talkface_jax.data import memory

        held = memory.hold(segments)
        super().__init__(held, held, lineage=lineage, threads=threads)


def _one_by_one(batches: Iterator[HostBatch]) -> Iterator[Sample]:
    """The samples of batches of one, without those in place of one that cannot be read."""
    for batch in batches:
        if batch["mask"][0]:
            yield {name: array[0] for name, array in batch.items() if name != "mask"}
