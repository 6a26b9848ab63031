"""Reads the arrays of a CTranslate2 model file (`model.bin`, format version 6).

The layout is that of the library's `model_spec.py`: little-endian numbers; the format's version,
the name of the specification and its revision; then the arrays, each with name, rank, dimensions,
number format and data; then names that stand for arrays listed before, which are not read here.
"""

import dataclasses
import math
import struct
from collections.abc import Callable

import numpy as np

from talkface_jax.errors import WeightsError

_VERSION = 6
_MOST_DIMENSIONS = 8
# The library's DataType; bfloat16 (5) does not occur in the files that are read here.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


@dataclasses.dataclass
class _Cursor:
    """A place in the bytes of a file."""

    data: bytes
    source: str
    at: int = 0

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise WeightsError(
                f"{self.source} is cut off at byte {len(self.data)}; install or copy it again"
            )
        self.at += size
        return memoryview(self.data)[self.at - size : self.at]

    def number(self, code: str) -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        """A string with its length before it, ended by a zero byte."""
        return bytes(self.take(self.number("H"))).rstrip(b"\0").decode("utf-8", "replace")

    def array(self) -> np.ndarray:
        rank = self.number("B")
        shape = tuple(self.number("I") for _ in range(min(rank, _MOST_DIMENSIONS)))
        dtype = _TYPES.get(self.number("B"))
        size = self.number("I")
        expected = math.prod(shape) * np.dtype(dtype).itemsize if dtype else -1
        if rank > _MOST_DIMENSIONS or size != expected:
            raise WeightsError(
                f"{self.source} is damaged: an array before byte {self.at} has no known number"
                " format or another size than its shape; install or copy it again"
            )
        return np.frombuffer(self.take(size), dtype).reshape(shape)


def read_arrays(
    data: bytes, *, specification: str, wanted: Callable[[str], bool], source: str
) -> dict[str, np.ndarray]:
    """The arrays whose names are `wanted`, as stored (views of `data`).

    Args:
      data: the whole file.
      specification: the kind of model that the file must hold, "WhisperSpec" for one.
      wanted: tells whether an array of that name is returned.
      source: names the file in messages.

    Raises:
      WeightsError: another version of the format, another kind of model, or a damaged file.
    """
    cursor = _Cursor(data, source)
    version = cursor.number("I")
    if version != _VERSION:
        raise WeightsError(
            f"{source} is no CTranslate2 model of format version {_VERSION} (it begins with"
            f" {version}); give the model.bin of such a model"
        )
    found = cursor.text()
    if found != specification:
        raise WeightsError(
            f"{source} holds a model of kind {found!r}, not {specification!r}; give one of that"
            " kind"
        )
    cursor.number("I")  # the specification's revision; what changes with it shows in the names
    arrays = {}
    for _ in range(cursor.number("I")):
        name = cursor.text()
        array = cursor.array()
        if wanted(name):
            arrays[name] = array
    return arrays
