"""Reader processes. Each makes whole batches on request, so that what they read does not depend on
how many they are; and each has a pipe of its own, so that the end of one is noticed at once.

Grain's own processes share queues: one that the system kills for want of memory while it writes
leaves its reader waiting for ever.
"""

import atexit
import collections
import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any

import numpy as np
from jaxtyping import Int

from talkface_jax.data.sampler import Sample, Sampler
from talkface_jax.errors import TalkfaceError

_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _stops_held() -> Iterator[None]:
    """A process started in here gets no stop signal before it can decide what to do with it."""
    # Where the tracker is not there yet the first start makes it, which lets the signals through.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, and the thread that waits for its answers."""

    def __init__(self, sampler: Sampler) -> None:
        # A fork would copy the locks of JAX's threads.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, sampler), daemon=True)
        with _stops_held():
            self._process.start()
        theirs.close()  # else its end would stay open after the process
        # At the owner's end multiprocessing asks with SIGTERM only, and then waits.
        atexit.register(self._process.kill)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")

    def ask(self, wanted: Int[np.ndarray, "b 2"]) -> "Future[Sample]":
        return self._thread.submit(self._answer, wanted)

    def _answer(self, wanted: Int[np.ndarray, "b 2"]) -> Sample:
        try:
            self._connection.send(wanted)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise TalkfaceError(
                "a reader process of the data pipeline ended, perhaps for want of memory (what it "
                "printed says more); lower --config.data.workers or --config.data.cache_mb"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        atexit.unregister(self._process.kill)
        self._process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._process.join()
        self._process.close()
        self._connection.close()


def _serve(connection: Any, sampler: Sampler) -> None:
    import cv2
    import jax

    # Features that are networks run here on the CPU; the accelerator is the owner's.
    jax.config.update("jax_platforms", "cpu")
    # Ctrl-C reaches all processes of a terminal, and a job system's SIGTERM all of a job; both are
    # for the owner, who finishes a step, saves, and then ends its readers.
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)  # held since before the start
    # As many readers as there are cores would else have as many threads each.
    cv2.setNumThreads(1)
    while True:
        try:
            wanted = connection.recv()
        except (EOFError, OSError):
            return  # the owner is gone
        try:
            samples = [sampler(position, window) for position, window in wanted.tolist()]
            answer = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        except Exception as error:  # raised by the owner, where the batch would be used
            answer = error
        try:
            connection.send(answer)
        except OSError:
            return


class WorkerBatches:
    """Batches of consecutive positions, made by several processes in turn.

    Has what `TrainIterator` uses of Grain's elastic iterator, and the same state.
    """

    def __init__(
        self,
        sampler: Sampler,
        window_at: Callable[[int], int],
        *,
        batch_size: int,
        share: tuple[int, int],
        workers: int,
        ahead: int,
    ) -> None:
        """Starts the processes.

        Args:
          sampler: makes the samples; a copy of it goes to every process.
          window_at: position in the global order -> window.
          batch_size: of this process.
          share: (process, processes): which positions are this process's.
          workers: how many processes.
          ahead: batches asked for before they are used, at least one of every worker.
        """
        self._window_at, self._size, self._share = window_at, batch_size, share
        self._position = self._asked = 0
        self._ahead = max(ahead, workers)
        self._pending: collections.deque[Future[Sample]] = collections.deque()
        self._workers = [_Worker(sampler) for _ in range(workers)]

    def __next__(self) -> Sample:
        step = self._size * self._share[1]
        while len(self._pending) < self._ahead:
            worker = self._workers[self._asked // step % len(self._workers)]
            self._pending.append(worker.ask(self._wanted(self._asked)))
            self._asked += step
        batch = self._pending[0].result()
        self._pending.popleft()
        self._position += step
        return batch

    def get_state(self) -> dict[str, int]:
        """The position behind the last batch that was handed out."""
        return {"global_next_index": self._position}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes on from a position; what was asked for is dropped."""
        self._drop()
        self._position = self._asked = state["global_next_index"]

    def close(self) -> None:
        """Ends the processes."""
        self._drop()
        for worker in self._workers:
            worker.close()
        self._workers = []

    def _drop(self) -> None:
        while self._pending:
            self._pending.popleft().cancel()

    def _wanted(self, first: int) -> Int[np.ndarray, "b 2"]:
        index, count = self._share
        positions = range(first + index, first + index + self._size * count, count)
        return np.array([(position, self._window_at(position)) for position in positions], np.int64)
