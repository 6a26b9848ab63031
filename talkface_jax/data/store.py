"""Shards: TFRecord files with an index beside them, read at random with every checksum verified.

`<shard>.tfrecord` is an ordinary TFRecord file. `<shard>.tfrecord.index.json` holds, per record,
offset, length, checksum and `RecordMeta`, and a checksum of itself; windows are enumerated from it
alone.
"""

import bisect
import contextlib
import dataclasses
import json
import os
import pathlib
import struct
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import google_crc32c
import numpy as np

from talkface_jax import runtime
from talkface_jax.data import remedy
from talkface_jax.data.schema import (
    NOT_INDEXED,
    SCHEMA_VERSION,
    RecordMeta,
    decode,
    record_meta,
)
from talkface_jax.errors import RecordError

INDEX_VERSION = 2
_WITHOUT_LABELS = 1
"""The index before emotion and level stood in it; it is read all the same."""
# The framing of a TFRecord: length and checksum before a record, checksum behind it.
HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
FRAMING = HEADER.size + FOOTER.size
_OPEN_FILES = 256


@dataclasses.dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where a record's bytes lie in its shard, their masked CRC-32C, and what the record holds."""

    offset: int
    length: int
    crc: int
    meta: RecordMeta


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """The index of one shard; `size` is that of the shard in bytes."""

    size: int
    entries: tuple[IndexEntry, ...]


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated and offset."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def index_path(shard: str | os.PathLike[str]) -> pathlib.Path:
    """Where the index of a shard lies."""
    return pathlib.Path(f"{os.fspath(shard)}.index.json")


class ShardWriter:
    """Writes one shard and its index; both appear when the `with` block ends without error."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.tmp-{os.getpid()}")
        with _naming(self._path):
            self._file = open(self._temporary, "wb")  # noqa: SIM115 (closed by close or discard)
        self._entries: list[IndexEntry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def write(self, data: bytes, meta: RecordMeta) -> None:
        """Appends one record.

        Raises:
          RecordError: the disk is full or the file cannot be written.
        """
        header = struct.pack("<Q", len(data))
        crc = masked_crc(data)
        with _naming(self._path):
            offset = self._file.tell() + HEADER.size
            self._file.write(header + FOOTER.pack(masked_crc(header)))
            self._file.write(data)
            self._file.write(FOOTER.pack(crc))
        self._entries.append(IndexEntry(offset, len(data), crc, meta))

    def close(self) -> None:
        """Publishes shard and index.

        Raises:
          RecordError: nothing was written, the disk is full, or the file cannot be written.
        """
        if not self._entries:
            raise RecordError(f"shard {self._path} would be empty; give it at least one record")
        with _naming(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
            # The old index goes first: a shard without an index is an error that says what to do, a
            # new shard beside an old index is a contradiction.
            index_path(self._path).unlink(missing_ok=True)
            os.replace(self._temporary, self._path)
            write_index(self._path, ShardIndex(size, tuple(self._entries)))

    def discard(self) -> None:
        """Removes what was written; nothing appears."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Turns an OSError into a RecordError that names the file."""
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); free disk space or give another folder"
        ) from error


def write_index(shard: str | os.PathLike[str], index: ShardIndex) -> None:
    """Writes the index of a shard, whole or not at all."""
    body = {
        "index_version": INDEX_VERSION,
        "schema_version": SCHEMA_VERSION,
        "shard": pathlib.Path(shard).name,
        "size": index.size,
        "records": [dataclasses.asdict(entry) for entry in index.entries],
    }
    text = json.dumps({**body, "crc32c": _body_crc(body)}, separators=(",", ":"))
    runtime.write_whole(index_path(shard), text)


def read_index(shard: str | os.PathLike[str]) -> ShardIndex:
    """The index of a shard, checked against itself and against the shard's size; reads no record.

    Raises:
      RecordError: shard or index missing, empty, altered, or not of each other.
    """
    shard = pathlib.Path(shard)
    path = index_path(shard)
    if not shard.is_file():
        raise RecordError(f"shard {shard} is missing; {remedy.prepare_anew(shard.parent)}")
    if not path.is_file():
        raise RecordError(f"shard {shard} has no index {path.name}; {remedy.rebuild_index(shard)}")
    try:
        body = json.loads(path.read_text())
        crc = body.pop("crc32c")
        if crc != _body_crc(body):
            raise ValueError("its checksum is wrong")
        version = body["index_version"]
        known = version in (_WITHOUT_LABELS, INDEX_VERSION)
        if not known or body["schema_version"] != SCHEMA_VERSION:
            raise ValueError("it is of another version")
        labelled = version == INDEX_VERSION
        entries = tuple(_entry(record, labelled=labelled) for record in body["records"])
        size, name = int(body["size"]), body["shard"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"index {path} cannot be used: {error}; {remedy.rebuild_index(shard)}"
        ) from error
    if name != shard.name:
        raise RecordError(f"index {path} is that of shard {name}; {remedy.rebuild_index(shard)}")
    index = ShardIndex(size, entries)
    _check_against_file(shard, index)
    return index


def rebuild_index(shard: str | os.PathLike[str]) -> ShardIndex:
    """Makes the index anew from the shard, reading and checking every record.

    Raises:
      RecordError: the shard is truncated, empty or altered.
    """
    shard = pathlib.Path(shard)
    if not shard.is_file():
        raise RecordError(f"shard {shard} is missing; {remedy.prepare_anew(shard.parent)}")
    entries = []
    with open(shard, "rb") as file:
        for number, (offset, data) in enumerate(_scan(file, shard)):
            try:
                meta = record_meta(decode(data))
            except RecordError as error:
                raise RecordError(f"{shard}, record {number}: {error}") from error
            entries.append(IndexEntry(offset, len(data), masked_crc(data), meta))
    index = ShardIndex(shard.stat().st_size, tuple(entries))
    _check_against_file(shard, index)
    write_index(shard, index)
    return index


class ShardSource:
    """Random access to the records of several shards, in the order given; safe to share by threads.

    Opening checks the indices; reading a record checks its length, its checksum and the index's.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.paths = tuple(pathlib.Path(path) for path in paths)
        self._ends: list[int] = []
        metas: list[RecordMeta] = []
        places = []
        for path in self.paths:
            entries = read_index(path).entries
            metas += [entry.meta for entry in entries]
            places.append(np.array([(e.offset, e.length, e.crc) for e in entries], np.int64))
            self._ends.append(len(metas))
        # Twenty-four bytes a record: a set of 300 hours has hundreds of thousands.
        self._places = np.concatenate(places) if places else np.zeros((0, 3), np.int64)
        self._metas: tuple[RecordMeta, ...] | None = tuple(metas)
        self._open()

    def _open(self) -> None:
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, record: int) -> bytes:
        """The bytes of one record.

        Raises:
          RecordError: by file and record: truncated, altered, or not what the index says.
        """
        shard, number = self.locate(record)
        offset, length, indexed_crc = self._places[record].tolist()
        name = f"{self.paths[shard]}, record {number}"
        try:
            with self._opened(shard) as file:
                # Read in three parts: cutting a record of megabytes out of one would copy it.
                header = os.pread(file, HEADER.size, offset - HEADER.size)
                data = os.pread(file, length, offset)
                footer = os.pread(file, FOOTER.size, offset + length)
        except OSError as error:
            raise RecordError(
                f"{name}: cannot be read ({error.strerror}); {remedy.PREPARE_ANEW}"
            ) from error
        if len(header) + len(data) + len(footer) != length + FRAMING:
            raise RecordError(f"{name}: the file is truncated; {remedy.PREPARE_ANEW}")
        found, length_crc = HEADER.unpack(header)
        if masked_crc(header[:8]) != length_crc or found != length:
            raise RecordError(
                f"{name}: no record of {length} bytes begins where the index says; "
                f"{remedy.rebuild_index(self.paths[shard])}"
            )
        (crc,) = FOOTER.unpack(footer)
        if masked_crc(data) != crc:
            raise RecordError(
                f"{name}: the checksum is wrong, bytes were altered; {remedy.PREPARE_ANEW}"
            )
        if indexed_crc != crc:
            raise RecordError(
                f"{name}: the index is of another shard; {remedy.rebuild_index(self.paths[shard])}"
            )
        return data

    def metas(self) -> tuple[RecordMeta, ...]:
        """What the indices say of all records, in order."""
        if self._metas is None:
            indices = map(read_index, self.paths)
            self._metas = tuple(entry.meta for index in indices for entry in index.entries)
        return self._metas

    def locate(self, record: int) -> tuple[int, int]:
        """Number of the shard and of the record within it."""
        if not 0 <= record < len(self):
            raise IndexError(record)
        shard = bisect.bisect_right(self._ends, record)
        return shard, record - (self._ends[shard - 1] if shard else 0)

    def close(self) -> None:
        """Closes the files; a later read opens them again."""
        with self._lock:
            files, self._files = self._files, {}
        for descriptor in files.values():
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        # A copy for another process can read every record, without reading the indices anew; it
        # does so if it is asked for `metas`, which are many times larger than the rest.
        return {"paths": self.paths, "_ends": self._ends, "_places": self._places}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _metas=None)
        self._open()

    def __repr__(self) -> str:
        return f"ShardSource({len(self.paths)} shards, {len(self)} records)"

    @contextlib.contextmanager
    def _opened(self, shard: int) -> Iterator[int]:
        """The shard's descriptor, kept open while there are not too many of them."""
        with self._lock:
            if shard not in self._files and len(self._files) < _OPEN_FILES:
                self._files[shard] = os.open(self.paths[shard], os.O_RDONLY)
            kept = self._files.get(shard)
        if kept is not None:
            yield kept
            return
        descriptor = os.open(self.paths[shard], os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _entry(record: dict[str, Any], *, labelled: bool) -> IndexEntry:
    meta = dict(record["meta"])
    for name in ("emotion", "level"):
        meta[name] = int(meta[name]) if labelled else NOT_INDEXED
    meta["runs"] = tuple((int(first), int(length)) for first, length in meta["runs"])
    return IndexEntry(
        int(record["offset"]), int(record["length"]), int(record["crc"]), RecordMeta(**meta)
    )


def _body_crc(body: dict[str, Any]) -> int:
    return google_crc32c.value(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def _check_against_file(shard: pathlib.Path, index: ShardIndex) -> None:
    size = shard.stat().st_size
    if size == 0 or not index.entries:
        raise RecordError(f"shard {shard} is empty; {remedy.prepare_anew(shard.parent)}")
    if size < index.size:
        raise RecordError(
            f"shard {shard} is truncated: {size} bytes, its index says {index.size}; "
            f"{remedy.prepare_anew(shard.parent)}"
        )
    end = 0
    for entry in index.entries:
        if entry.offset != end + HEADER.size:
            break
        end = entry.offset + entry.length + FOOTER.size
    if size != index.size or end != size:
        raise RecordError(
            f"the index of shard {shard} does not match it ({size} bytes, indexed {end}): records "
            f"are missing; {remedy.rebuild_index(shard)}"
        )


def _scan(file: Any, shard: pathlib.Path) -> Iterator[tuple[int, bytes]]:
    """Offset and data of every record, in order, checked."""
    number = 0
    while header := file.read(HEADER.size):
        name = f"{shard}, record {number}"
        if len(header) < HEADER.size:
            raise RecordError(f"{name}: the file is truncated; {remedy.PREPARE_ANEW}")
        length, crc = HEADER.unpack(header)
        if masked_crc(header[:8]) != crc:
            raise RecordError(f"{name}: the checksum of its length is wrong; {remedy.PREPARE_ANEW}")
        offset = file.tell()
        block = file.read(length + FOOTER.size)
        if len(block) < length + FOOTER.size:
            raise RecordError(f"{name}: the file is truncated; {remedy.PREPARE_ANEW}")
        if masked_crc(block[:length]) != FOOTER.unpack(block[length:])[0]:
            raise RecordError(
                f"{name}: the checksum is wrong, bytes were altered; {remedy.PREPARE_ANEW}"
            )
        yield offset, block[:length]
        number += 1
