"""Tar archives read in place: what they hold, and one member at a time.

A member is named by the archive's path and its own: `M003/video.tar/front/angry/level_1/001.mp4`.
Nothing is ever unpacked where the archive says: a member is copied to a file that the caller names,
and names that lead out of the archive, links and devices are refused.
"""

import contextlib
import dataclasses
import functools
import gzip
import pathlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, BinaryIO, cast

from talkface_jax.data.manifest import Failure
from talkface_jax.errors import MediaError, RecordError

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_COMPRESSED = (".tar.gz", ".tgz")
_BLOCK = 512
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive: its bytes start at `offset` of the uncompressed archive."""

    name: str
    size: int
    offset: int


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an archive holds: members by name, and what in it cannot be used."""

    members: Mapping[str, Member]
    problems: tuple[Failure, ...]


def is_archive(path: str) -> bool:
    """Whether a path is named like an archive that can be read."""
    return path.lower().endswith(SUFFIXES)


def is_compressed(path: str) -> bool:
    """Whether reaching a member costs reading all that lies before it."""
    return path.lower().endswith(_COMPRESSED)


def split_path(path: str) -> Iterator[tuple[str, str]]:
    """Every way to read a path as (archive, name of a member), outermost archive first."""
    parts = path.split("/")
    for k in range(1, len(parts)):
        if is_archive(parts[k - 1]):
            yield "/".join(parts[:k]), "/".join(parts[k:])


@functools.lru_cache(maxsize=512)
def read_contents(root: str, path: str, size: int, stamp: int) -> Contents:
    """List an archive by its headers alone; remembered while its size and time stay the same.

    A truncated or damaged archive yields the members before the fault and one problem.

    Args:
      root: root of the raw tree.
      path: the archive, relative to it.
      size, stamp: of the archive, in bytes and ns.

    Raises:
      MediaError: the archive cannot be opened.
    """
    members: dict[str, Member] = {}
    problems: list[Failure] = []
    with _opened(root, path) as stream:
        fault = _list_members(stream, path, members, problems)
    if fault:
        before = f"files before the fault: {len(members)}"
        reason = f"{path} {fault} ({before}); download the archive again or repair it."
        problems.append(Failure(path, reason))
    return Contents(members, tuple(problems))


def copy_member(root: str, path: str, member: Member, target: pathlib.Path) -> None:
    """Write one member's bytes to `target`; in an uncompressed archive this is one seek.

    Raises:
      MediaError: the archive cannot be read, or ends before the member does.
      RecordError: `target` cannot be written.
    """
    with _opened(root, path) as stream, _writing(target) as file:
        for chunk in _chunks(stream, path, member):
            file.write(chunk)


def read_member(root: str, path: str, member: Member) -> bytes:
    """One member's bytes, for small files.

    Raises:
      MediaError: the archive cannot be read, or ends before the member does.
    """
    with _opened(root, path) as stream:
        return b"".join(_chunks(stream, path, member))


def printable(name: str) -> str:
    """A file name as valid text: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _list_members(
    stream: BinaryIO, path: str, members: dict[str, Member], problems: list[Failure]
) -> str:
    """Fill `members` and `problems`; returns what is wrong with the archive itself, if anything."""
    last = ""
    try:
        # "r:" reads headers and seeks over the data; compression is undone by the stream.
        with tarfile.open(
            fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            while (info := tar.next()) is not None:
                _forget_members(tar)
                last = _usable_name(info, path, problems)
                if last:
                    # Of a name that comes twice the later one counts, as when unpacking.
                    members[last] = Member(last, info.size, info.offset_data)
            end = tar.offset
        stream.seek(end)
        mark = stream.read(_BLOCK)
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        members.pop(last, None)  # the fault lies in its data or right behind
        if isinstance(error, EOFError) or "unexpected end" in str(error):
            return "is truncated"
        unread = isinstance(error, tarfile.ReadError) and not members
        return "is no tar archive" if unread else f"is damaged ({error})"
    # tarfile takes a broken header, or the want of one, for the end of the archive.
    if len(mark) < _BLOCK:
        return "is truncated"
    return "is damaged" if mark.strip(b"\0") else ""


def _forget_members(tar: tarfile.TarFile) -> None:
    """Drop what tarfile keeps of the headers: a kilobyte a member."""
    tar.members = []  # pyright: ignore[reportAttributeAccessIssue]


def _usable_name(info: tarfile.TarInfo, path: str, problems: list[Failure]) -> str:
    """A member's normalised name; empty if it is no file to be read."""
    parts = [part for part in info.name.split("/") if part not in ("", ".")]
    if info.isdir() or not parts or any(part.startswith(".") and part != ".." for part in parts):
        return ""  # hidden: what file managers leave behind
    shown = printable(info.name)
    if info.name.startswith("/") or ".." in parts:
        fault = "has a name that leads out of the archive"
    elif info.issym() or info.islnk():
        fault = "is a link"
    elif not info.isreg() or info.issparse():
        fault = "is no ordinary file"
    elif shown != info.name:
        fault = "has a name that is not UTF-8"
    else:
        return "/".join(parts)
    where = f"{path}/{shown.lstrip('/')}"
    problems.append(
        Failure(where, f"{shown} in {path} {fault}; unpack the archive and give the folder.")
    )
    return ""


def _chunks(stream: BinaryIO, path: str, member: Member) -> Iterator[bytes]:
    left = member.size
    try:
        stream.seek(member.offset)
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise EOFError
            left -= len(chunk)
            yield chunk
    except (EOFError, OSError, zlib.error) as error:
        raise MediaError(
            f"{member.name} cannot be read from {path} ({error or 'the archive ends before it'}); "
            "download the archive again."
        ) from error


@contextlib.contextmanager
def _opened(root: str, path: str) -> Iterator[BinaryIO]:
    """The uncompressed bytes of an archive, seekable."""
    from data_prep import places

    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(places.open_read(places.join(root, path)))
        if is_compressed(path):
            stream = stack.enter_context(gzip.GzipFile(fileobj=cast(IO[bytes], stream)))
        yield cast(BinaryIO, stream)


@contextlib.contextmanager
def _writing(target: pathlib.Path) -> Iterator[BinaryIO]:
    try:
        with target.open("wb") as file:
            yield file
    except OSError as error:
        raise RecordError(
            f"{target.parent} cannot be written ({error.strerror}); free disk space there, or set "
            "TMPDIR to a folder that has some."
        ) from error
