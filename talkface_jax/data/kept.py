"""Arrays that are costly to make of a record, kept on disk for the runs and hosts that come later.

One safetensors file a record, `<directory>/<name>/<2 digits>/<digest>.safetensors`. The name tells
features, weights and versions apart, the digest records: it is of the shard's SHA-256 and the
record's number in it, so that sets may share a directory, and a set that is made anew finds
nothing of the old one.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import secrets
import struct
import time
from collections.abc import Callable, Iterator

import google_crc32c
import numpy as np

from talkface_jax.errors import ConfigError, TalkfaceError

Arrays = tuple[np.ndarray, ...]
FIELD = "data.features_dir"

logger = logging.getLogger(__name__)

_UNFINISHED = ".unfinished"
_STALE_SECONDS = 86_400.0
_LENGTH = struct.Struct("<Q")
_CRC = "crc32c"
_REMEDY = f"give another --config.{FIELD}, or an empty one to keep features in memory only"


@dataclasses.dataclass(frozen=True)
class KeptArrays:
    """What was made of the records; light, and sent to the reader processes.

    Threads, processes and hosts may use one directory at once: files appear whole, and those who
    miss the same one write the same.
    """

    directory: pathlib.Path

    @classmethod
    def open(cls, directory: str) -> "KeptArrays | None":
        """Makes the folder, and removes what killed processes left in it; None of an empty name.

        Raises:
          ConfigError: it is no local folder, or cannot be made.
        """
        if not directory:
            return None
        if "://" in directory:
            raise ConfigError(
                f"config: {FIELD} is {directory!r}, which is not on this machine; mount it and "
                "give that folder, or leave it empty"
            )
        path = pathlib.Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"config: {FIELD} {directory} cannot be made ({error.strerror}); {_REMEDY}"
            ) from error
        _remove_stale(path / _UNFINISHED)
        return cls(path)

    def get(self, name: str, shard: str, record: int, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a record: read, or made and written.

        A file that is truncated, altered or of another place is told of and made again.

        Args:
          name: of what is made, its version included; a name of a folder.
          shard: SHA-256 of the shard.
          record: number of the record in it.
          make: gives them.

        Raises:
          TalkfaceError: a file cannot be read or written, because of a full disk or permissions.
        """
        digest = hashlib.sha256(f"{shard} {record}".encode()).hexdigest()
        path = self.directory / name / digest[:2] / f"{digest}.safetensors"
        place = f"{name}/{digest}"
        with _naming(path, "read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                data = None
        if data is not None:
            found = _unpack(data, place)
            if found is not None:
                return found
            _tell(path)
        arrays = make()
        with _naming(path, "written"):
            self._write(path, _pack(arrays, place))
        return arrays

    def _write(self, path: pathlib.Path, data: bytes) -> None:
        """Whole or not at all. Not synced: what a power failure leaves is found by its checksum."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one folder, so that what a killed process leaves there is found again.
        temporary = self.directory / _UNFINISHED / secrets.token_hex(16)
        temporary.parent.mkdir(exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: pathlib.Path, what: str) -> Iterator[None]:
    """Turns an OSError into the error of the whole run: no record is to blame."""
    try:
        yield
    except OSError as error:
        raise TalkfaceError(
            f"the features {path} cannot be {what} ({error.strerror}); free disk space or mend "
            f"its permissions, or {_REMEDY}"
        ) from error


def _tell(path: pathlib.Path) -> None:
    """Warns of a damaged file, once: only one of those that find it removes it."""
    with _naming(path, "removed"):
        try:
            path.unlink()
        except FileNotFoundError:
            return
    logger.warning("the features %s are truncated or altered; they are made again", path)


def _remove_stale(folder: pathlib.Path) -> None:
    """Removes files that nobody writes any more; where that is not allowed, they stay."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                    path.unlink()


def _pack(arrays: Arrays, place: str) -> bytes:
    from safetensors.numpy import save

    tensors = {str(number): np.ascontiguousarray(array) for number, array in enumerate(arrays)}
    return save(tensors, {_CRC: str(_checksum(save(tensors), tuple(tensors.values()), place))})


def _unpack(data: bytes, place: str) -> Arrays | None:
    """The arrays; None where the bytes are not those that were written for this place."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        told = json.loads(data[_LENGTH.size : _start(data)])["__metadata__"][_CRC]
        arrays = tuple(tensors[str(number)] for number in range(len(tensors)))
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None
    return arrays if told == str(_checksum(data, arrays, place)) else None


def _start(data: bytes) -> int:
    """Where the arrays' bytes begin in a safetensors file."""
    return _LENGTH.size + _LENGTH.unpack_from(data)[0]


def _checksum(data: bytes, arrays: Arrays, place: str) -> int:
    """CRC-32C of a file's place, its arrays' types and shapes, and their bytes."""
    kinds = [(array.dtype.str, array.shape) for array in arrays]
    begun = google_crc32c.value(f"{place} {kinds}".encode())
    return google_crc32c.extend(begun, data[_start(data) :])
