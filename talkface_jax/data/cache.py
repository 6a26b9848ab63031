"""A bounded memory of what was decoded."""

import collections
import dataclasses
import threading
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class Cache:
    """Least recently used values are dropped when the sum of their sizes passes `limit` bytes.

    Safe to share by threads; two that miss the same key at once both compute it, which costs time
    only. A pickled copy is empty.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._values: collections.OrderedDict[Hashable, tuple[Any, int]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of `key`, made if it is not at hand."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value = make()
        size = size_of(value)
        if size > self.limit:
            return value
        with self._lock:
            if key in self._values:
                return self._values[key][0]
            self._values[key] = value, size
            self.size += size
            while self.size > self.limit:
                _, (_, dropped) = self._values.popitem(last=False)
                self.size -= dropped
        return value

    def __len__(self) -> int:
        return len(self._values)

    def __getstate__(self) -> dict[str, int]:
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(state["limit"])


def size_of(value: Any) -> int:
    """Bytes that arrays, byte strings, and tuples and dataclasses of them hold."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, (tuple, list)):
        if all(isinstance(item, bytes) for item in value):
            return sum(map(len, value))  # a hundred images: this runs at every miss
        return sum(map(size_of, value))
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 64
