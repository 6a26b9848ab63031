"""Batches on their way to the devices while a step runs."""

import dataclasses
import time
from typing import Any

import jax
from jax.sharding import Mesh

from talkface_jax.train import sharding
from talkface_jax.train.source import TrainBatches

DeviceBatch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class _Sent:
    """A batch, or what was raised in its place, the data position behind it, and the seconds that
    its reading took."""

    batch: DeviceBatch | Exception
    position: dict[str, Any]
    seconds: float


class DeviceBatches:
    """Batches with the sharding of the step, one ahead of their use.

    `prefetch` right after a step is dispatched: reading and copying the next batch then overlap
    with the step. The position that `get_state` gives is that of the batches handed out, whatever
    was read ahead; and what goes wrong in reading ahead is raised where the batch would be used, so
    that everything before it is still done.

    Attributes:
      waited: seconds that the caller waited for the batch that was handed out last, in `prefetch`
        or in `next`.
    """

    def __init__(self, batches: TrainBatches, mesh: Mesh) -> None:
        self._batches, self._mesh = batches, mesh
        self._ahead: _Sent | None = None
        self._position = batches.get_state()
        self.waited = 0.0

    def __iter__(self) -> "DeviceBatches":
        return self

    def __next__(self) -> DeviceBatch:
        self.prefetch()
        sent, self._ahead = self._ahead, None
        assert sent is not None
        if isinstance(sent.batch, Exception):
            raise sent.batch
        self._position, self.waited = sent.position, sent.seconds
        return sent.batch

    def prefetch(self) -> None:
        """Reads the next batch and starts its copy, unless that is done already."""
        if self._ahead is not None:
            return
        began = time.perf_counter()
        try:
            batch = sharding.put_batch(next(self._batches), self._mesh)
            position = self._batches.get_state()
        except Exception as error:  # raised by `__next__`
            batch, position = error, self._position
        self._ahead = _Sent(batch, position, time.perf_counter() - began)

    def get_state(self) -> dict[str, Any]:
        """The position behind the last batch that was handed out."""
        return self._position
