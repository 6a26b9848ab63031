"""A raw data set as one listing of its files, on a local disk or in a remote store.

The tree is walked once; what an adapter needs to know of a file (path, size, time) is in the
listing, so that a data set of 150,000 clips costs one `stat` a file. Members of tar archives stand
beside real files, under the archive's path.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import posixpath
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator

from data_prep import archives, places
from talkface_jax.data.manifest import Failure
from talkface_jax.errors import MediaError, RecordError

# A remote store answers each request slowly but many at a time.
_READERS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file below the raw root.

    Attributes:
      path: relative, with slashes; members of archives read as
        "M003/video.tar/front/angry/level_1/001.mp4".
      size: bytes.
      stamp: modification time in ns; that of the archive for its members, 0 where a remote store
        gives none. A link to a file that does not exist has size and stamp 0.
    """

    path: str
    size: int
    stamp: int


@dataclasses.dataclass(frozen=True)
class Tree:
    """The files below a root.

    Attributes:
      root: a local folder or a place in a remote store ("gs://bucket/dir").
      entries: sorted by path; hidden files and folders (".name") are left out.
      packed: the tar archives among the files, also in a tree that was `opened`.
      problems: what is there and cannot be named or read: names that are not UTF-8, archives that
        are damaged, members that are refused. The path of a folder ends in a slash.
    """

    root: str
    entries: tuple[Entry, ...]
    packed: tuple[Entry, ...] = ()
    problems: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """The root's own name."""
        root = self.root if places.is_remote(self.root) else os.path.abspath(self.root)
        return posixpath.basename(root.rstrip("/"))

    def __contains__(self, path: str) -> bool:
        return self._find(path) is not None

    def entry(self, path: str) -> Entry:
        """The file at a path; an archive on the way is looked into even in a tree not `opened`.

        Raises:
          MediaError: there is none, or the archive cannot be read.
        """
        found = self._find(path)
        if found is None:
            raise MediaError(f"{self.root} has no file {path}; restore it or correct the path.")
        return found

    def with_suffix(self, suffixes: Collection[str]) -> tuple[Entry, ...]:
        """The entries whose names end in one of the suffixes (".mp4"), in any case."""
        return tuple(entry for entry in self.entries if suffix(entry.path) in suffixes)

    def opened(self) -> "Tree":
        """This tree with the members of its tar archives in the archives' place.

        An archive that cannot be opened has none, and is a problem.
        """
        closed = [archive for archive in self.packed if archive.path in self._by_path]
        entries = [entry for entry in self.entries if entry.path not in self._archives]
        problems = list(self.problems)
        for archive in closed:
            try:
                contents = self._contents(archive)
            except MediaError as error:
                problems.append(Failure(archive.path, str(error)))
                continue
            entries += (_member_entry(archive, m) for m in contents.members.values())
            problems += contents.problems
        return Tree(self.root, _in_order(entries), self.packed, tuple(problems))

    def problems_of(self, suffixes: Collection[str]) -> tuple[Failure, ...]:
        """The problems that may cost a clip: of folders, archives and files with a suffix."""
        return tuple(
            problem
            for problem in self.problems
            if problem.clip.endswith("/")
            or suffix(problem.clip) in suffixes
            or archives.is_archive(problem.clip)
            or any(archives.split_path(problem.clip))
        )

    def read_text(self, path: str, *, errors: str = "strict") -> str:
        """A small UTF-8 file, with or without a byte-order mark; line ends become "\\n".

        Args:
          path: of an entry.
          errors: as of `bytes.decode`: what becomes of bytes that are not UTF-8.

        Raises:
          MediaError: there is none, it cannot be read, or it is not UTF-8.
        """
        try:
            text = self._read(path).decode("utf-8-sig", errors)
        except UnicodeDecodeError as error:
            raise MediaError(
                f"{path} in {self.root} is not UTF-8 ({error.reason}); save it as UTF-8."
            ) from error
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def read_texts(self, paths: Iterable[str], *, errors: str = "strict") -> Iterator[str]:
        """`read_text` of many files, in order, with several requests under way at a time.

        Raises:
          MediaError: as `read_text`.
        """
        read = functools.partial(self.read_text, errors=errors)
        if not places.is_remote(self.root):
            yield from map(read, paths)
            return
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(read, paths)

    @functools.cached_property
    def _by_path(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.entries}

    @functools.cached_property
    def _archives(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.packed}

    def _contents(self, archive: Entry) -> archives.Contents:
        return archives.read_contents(self.root, archive.path, archive.size, archive.stamp)

    def _member(self, path: str) -> tuple[Entry, archives.Member] | None:
        for outer, name in archives.split_path(path):
            if outer in self._archives:
                archive = self._archives[outer]
                member = self._contents(archive).members.get(name)
                return None if member is None else (archive, member)
        return None

    def _find(self, path: str) -> Entry | None:
        if path in self._by_path:
            return self._by_path[path]
        found = self._member(path)
        return None if found is None else _member_entry(*found)

    def _read(self, path: str) -> bytes:
        found = self._member(path)
        if found is not None:
            return archives.read_member(self.root, found[0].path, found[1])
        place = places.join(self.root, self.entry(path).path)
        try:
            with places.open_read(place) as file:
                return file.read()
        except OSError as error:
            raise MediaError(f"{place} cannot be read ({error}); restore it.") from error


def suffix(path: str) -> str:
    """A path's suffix in small letters: ".mp4"."""
    return posixpath.splitext(path)[1].lower()


def scan(root: str | os.PathLike[str]) -> Tree:
    """List every file below a root, once, without opening any.

    Links to files and folders are followed; a folder that can be reached by several ways is listed
    once, by its own place in the tree if it has one. A folder that cannot be listed ends the run:
    nobody can say how many clips it would cost, so no limit on failures could count it.

    Raises:
      MediaError: no such folder, or a folder in it that cannot be listed.
    """
    root = os.fspath(root)
    problems: list[Failure] = []
    if places.is_remote(root):
        listed = (Entry(*row) for row in places.list_files(root))
        entries = [e for e in listed if not any(p.startswith(".") for p in e.path.split("/"))]
    elif os.path.isdir(root):
        entries = list(_walk(root, problems))
    else:
        raise MediaError(f"--raw={root} is no folder; give the root of the raw data.")
    found = _in_order(entries)
    return Tree(
        root, found, tuple(e for e in found if archives.is_archive(e.path)), tuple(problems)
    )


@contextlib.contextmanager
def local_file(root: str | os.PathLike[str], path: str) -> Iterator[pathlib.Path]:
    """A raw file as a file on this machine: itself, or a copy that is removed afterwards.

    Copies (of members of archives and of remote files) keep the file's name and lie in the
    temporary folder (TMPDIR).

    Args:
      root: root of the raw tree.
      path: of an entry, relative to the root.

    Raises:
      MediaError: there is no such file, or it cannot be read.
      RecordError: the temporary folder is full.
    """
    root = os.fspath(root)
    place = places.join(root, path)
    remote = places.is_remote(root)
    member = _stored_member(root, path)
    if member is None and not remote:
        if not os.path.isfile(place):
            raise MediaError(f"{place}: no such file; restore it, or leave the clip out.")
        yield pathlib.Path(place)
        return
    with _temporary_folder() as folder:
        target = folder / posixpath.basename(path)
        if member is not None:
            archives.copy_member(root, member[0], member[1], target)
        else:
            places.fetch(place, target)
        yield target


def _walk(root: str, problems: list[Failure]) -> Iterator[Entry]:
    """Every file below a local folder; folders behind links come after the tree's own."""
    seen: set[tuple[int, int]] = set()
    own, linked = [("", root)], collections.deque[tuple[str, str]]()
    while own or linked:
        prefix, folder = own.pop() if own else linked.popleft()
        with _listing(folder, root):
            status = os.stat(folder)
            with os.scandir(folder) as found:
                items = sorted(found, key=lambda item: item.name)
        if (status.st_dev, status.st_ino) in seen:  # by a link, perhaps one that leads upwards
            continue
        seen.add((status.st_dev, status.st_ino))
        for item in items:
            path = prefix + item.name
            shown = archives.printable(path)
            if item.name.startswith("."):
                continue
            if shown != path:
                shown += "/" if _is_folder(item) else ""
                problems.append(Failure(shown, f"{shown} has a name that is not UTF-8; rename it."))
            elif _is_folder(item):
                (linked if item.is_symlink() else own).append((path + "/", item.path))
            else:
                with _listing(folder, root):
                    entry = _file_entry(item, path)
                if entry is not None:
                    yield entry


@contextlib.contextmanager
def _listing(folder: str, root: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MediaError(
            f"{folder} cannot be listed ({error.strerror}); give yourself the right to read it, or "
            f"move it out of {root}."
        ) from error


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _file_entry(item: os.DirEntry[str], path: str) -> Entry | None:
    """The entry of a file; None of a pipe or socket."""
    try:
        status = item.stat()
    except OSError:
        if not item.is_symlink():
            raise
        # Left in the list, so that a clip of it fails with the reason and is not just absent.
        return Entry(path, 0, 0)
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(path, status.st_size, status.st_mtime_ns)


def _in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _member_entry(archive: Entry, member: archives.Member) -> Entry:
    return Entry(f"{archive.path}/{member.name}", member.size, archive.stamp)


def _stored_member(root: str, path: str) -> tuple[str, archives.Member] | None:
    """The archive that holds a path, and the member; None where the path is a file of its own.

    Raises:
      MediaError: the archive on the way cannot be read, or has no such member.
    """
    for outer, name in archives.split_path(path):
        place = places.join(root, outer)
        if places.is_remote(root):
            size, stamp = places.size(place), 0
        elif os.path.isfile(place):
            status = os.stat(place)
            size, stamp = status.st_size, status.st_mtime_ns
        else:
            continue
        if size < 0:
            continue
        member = archives.read_contents(root, outer, size, stamp).members.get(name)
        if member is None:
            raise MediaError(
                f"{place} holds no {name}; restore the archive, or leave the clip out."
            )
        return outer, member
    return None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[pathlib.Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="talkface-")
    except OSError as error:
        raise RecordError(
            f"{tempfile.gettempdir()} cannot be written ({error.strerror}); free disk space there, "
            "or set TMPDIR to a folder that has some."
        ) from error
    with folder as path:
        yield pathlib.Path(path)
