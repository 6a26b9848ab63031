"""Which source frame each output frame shows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, UInt8


def ping_pong(sources: int, length: int) -> Int[np.ndarray, " n"]:
    """Indices 0 … sources - 1 forwards, then backwards, without showing an end twice: 0 1 2 1 0 1 …

    Raises:
      ValueError: no source frame, or a negative length.
    """
    if sources < 1 or length < 0:
        raise ValueError(f"cannot show {sources} frames for {length}")
    period = max(1, 2 * (sources - 1))
    place = np.arange(length) % period
    return np.minimum(place, period - place) if sources > 1 else np.zeros(length, int)


class Indexable(Protocol):
    """Frames by number."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, i: int, /) -> UInt8[np.ndarray, "h w 3"]:
        """One of them."""
        ...


class Prefix(Sequence[UInt8[np.ndarray, "h w 3"]]):
    """The first frames of a video: what is needed of one that is longer than the recording."""

    def __init__(self, video: Indexable, length: int) -> None:
        self._video, self._length = video, min(length, len(video))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._video[i] for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(f"frame {index} of {self._length}")
        return self._video[index % self._length]
