"""Processes that work for this one: they end with it, and the loss of one is told in a sentence."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator

from talkface_jax.errors import TalkfaceError

_LOOK_SECONDS = 1.0


@contextlib.contextmanager
def pool(
    workers: int, *, kept: str = "", prepare: Callable[[], None] | None = None
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Worker processes while the block runs; work that has not begun at its end is dropped.

    Args:
      workers: how many.
      kept: what the user has of the work when a worker dies, in brackets behind the remedy.
      prepare: called once in each worker before its first work; importable by name.

    Raises:
      TalkfaceError: a worker died.
    """
    # Spawned: forking a process whose libraries run threads can deadlock.
    executor = concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(os.getpid(), prepare),
    )
    try:
        yield executor
    except concurrent.futures.process.BrokenProcessPool as error:
        raise TalkfaceError(
            "a worker process died, most likely for want of memory; run the same command with "
            f"fewer than --workers={workers}" + (f" ({kept})." if kept else ".")
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(parent: int, prepare: Callable[[], None] | None) -> None:
    end_with(parent)
    if prepare is not None:
        prepare()


def end_with(parent: int) -> None:
    """From now on, this process ends soon after its parent.

    A killed parent says no goodbye: a worker in the middle of its work would not notice, and one
    that waits for more would wait for ever.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
