"""Keeps the threads of Orbax and TensorStore from printing pages about a file that failed.

The failure itself is raised in the main thread and becomes one sentence there. What is dropped are
the same failure's tracebacks in the logs, and the "Event loop is closed" of threads left behind.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("absl", "asyncio")
_SIGNS = ("orbax", "OCDBT", "TensorStore")


class QuietThreads(logging.Filter):
    """Filters between `start` and `stop`; everything else passes through.

    After a failure it is never stopped: threads that outlive their checkpoint speak late.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hook: Any = None

    def start(self) -> None:
        """Begins to filter."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable

    def stop(self) -> None:
        """Filters no more."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
        if sys.unraisablehook == self._unraisable:
            sys.unraisablehook = self._hook

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is news; each instance filters for itself, for they may be nested."""
        told = record.pathname, record.getMessage(), str(record.exc_info)
        return not (record.exc_info and any(sign in text for text in told for sign in _SIGNS))

    def _unraisable(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._hook(unraisable)


@contextlib.contextmanager
def quiet_unless_well() -> Iterator[None]:
    """Filters in the block, and for good if it fails."""
    threads = QuietThreads()
    threads.start()
    yield
    threads.stop()
