"""Stopping on request: SIGINT and SIGTERM let the current step finish and be saved."""

import signal
import threading
from types import FrameType

import jax


class StopRequest:
    """Remembers the first SIGINT or SIGTERM; a second one acts as usual.

    A context manager. Outside of the main thread, where Python delivers no signals, and in runs of
    several processes, which stop together (`Checkpoints.preempted`), it never fires.
    """

    def __init__(self) -> None:
        self.name = ""
        self._old: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._restore()

    def __bool__(self) -> bool:
        return bool(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._old.clear()
