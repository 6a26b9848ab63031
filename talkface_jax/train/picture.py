"""One picture of a person and replay faces as the data of a run (`methods.finetuning`)."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from talkface_jax.records import Segment
from talkface_jax.task import DataView, Sample
from talkface_jax.train.source import HostBatch, TrainBatches, one_by_one

VARIANTS = 64
"""Changed copies of the picture that training sees."""
SHARE = 1.0, 3.0
"""Parts of a batch: the picture, the replay faces."""


class PictureSource:
    """Training batches of one part the picture, changed a little, and three parts replay faces;
    evaluation of the picture as it is.

    Which sample comes when is a function of seed and position (`data.mixture`), so that a run goes
    on where it was; a position fits the same picture and faces only.
    """

    def __init__(
        self,
        picture: Segment,
        replay: Sequence[Segment],
        *,
        seed: int,
        lineage: Mapping[str, Any],
        threads: int = 2,
    ):
        """Takes a segment of one frame that shows the person, and segments of other people.

        `seed` draws the changes of the picture; `lineage` says what the two are and under what
        licence, in plain JSON.
        """
        from talkface_jax.data import memory, mixture, pipeline, variants

        changed = variants.picture_variants(picture, count=VARIANTS, seed=seed)
        alone = dataclasses.replace(picture, info=dataclasses.replace(picture.info, speaker=""))
        self._pipeline, self._threads = pipeline, threads
        self._train = mixture.Mixture((memory.hold(changed), memory.hold(replay)), SHARE)
        self._eval = memory.hold((alone,))
        self._lineage = json.dumps(dict(lineage))

    @property
    def lineage(self) -> dict[str, Any]:
        """What was given as such."""
        return json.loads(self._lineage)

    def train(self, view: DataView, *, batch_size: int, seed: int) -> TrainBatches:
        """Shuffled by `seed`, each process its own samples.

        Raises:
          ConfigError: a view that needs labels, and a face without.
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
        """The picture alone; the rest of the batch is padding."""
        return self._pipeline.eval_batches(
            self._eval,
            view,
            batch_size=batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def spread(self, view: DataView, *, limit: int) -> Iterator[Sample]:
        """Evenly spread over picture and faces; sample by sample."""
        return one_by_one(
            self._pipeline.eval_batches(self._train, view, batch_size=1, batches=limit)
        )
