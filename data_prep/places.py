"""Files in local folders and in remote places ("gs://bucket/folder"), by the same few operations.

Whatever has "://" in it is remote and goes through Apache Beam's file systems (Google Cloud
Storage, S3, Azure and HDFS come with Beam's extras); local folders never import Beam.
"""

import contextlib
import fcntl
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from talkface_jax import extras, runtime
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError

_CHUNK = 1 << 20
_LOCK = "lock"


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether Beam's file systems reach the place, and not the local one."""
    return "://" in os.fspath(place)


def join(place: str | os.PathLike[str], *names: str) -> str:
    """A file or folder below a place; `names` are relative, with "/" between their parts."""
    if is_remote(place):
        return "/".join([os.fspath(place).rstrip("/"), *names])
    return os.path.join(os.fspath(place), *names)


def exists(place: str) -> bool:
    """Whether there is such a file (or, locally, a folder).

    Raises:
      MediaError: a remote place that cannot be asked.
    """
    if not is_remote(place):
        return os.path.exists(place)
    with _reading(place):
        return bool(_systems().exists(place))


def size(place: str) -> int:
    """Bytes of a file; -1 if there is none.

    Raises:
      MediaError: a remote place that cannot be asked.
    """
    if not is_remote(place):
        try:
            return os.stat(place).st_size
        except OSError:
            return -1
    with _reading(place):
        found = _systems().match([place])[0].metadata_list
    return found[0].size_in_bytes if found else -1


def list_files(root: str | os.PathLike[str]) -> list[tuple[str, int, int]]:
    """Relative path, bytes and time of change (ns; 0 if unknown) of every file below, by path.

    Raises:
      MediaError: the place cannot be listed.
    """
    root = os.fspath(root)
    with _reading(root):
        if not is_remote(root):
            return sorted(_walk(root))
        prefix = root.rstrip("/") + "/"
        found = _systems().match([prefix + "**"])[0].metadata_list
    return sorted(
        (
            file.path.removeprefix(prefix),
            file.size_in_bytes,
            round(file.last_updated_in_seconds * 1e9),
        )
        for file in found
        if not file.path.endswith("/")  # object stores mark folders by empty objects
    )


def names(place: str) -> list[str]:
    """Names of the files directly in a place, sorted; none if there is no such place.

    Raises:
      MediaError: the place cannot be listed.
    """
    if is_remote(place):
        return [name for name, _, _ in list_files(place) if "/" not in name]
    with _reading(place):
        try:
            return sorted(entry.name for entry in os.scandir(place) if entry.is_file())
        except FileNotFoundError:
            return []


def open_read(place: str) -> BinaryIO:
    """A file opened for reading, byte for byte as it is stored.

    Raises:
      MediaError: it cannot be opened.
    """
    with _reading(place):
        if not is_remote(place):
            return open(place, "rb")
        return _systems().open(place, compression_type=_as_stored())


def read_text(place: str) -> str:
    """The UTF-8 text of a file.

    Raises:
      MediaError: it cannot be read.
    """
    with _reading(place), open_read(place) as file:
        return file.read().decode("utf-8")


def write_text(place: str, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
      RecordError: the place cannot be written to.
    """
    if not is_remote(place):
        with _writing(place):
            runtime.write_whole(pathlib.Path(place), text)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "text")
        path.write_text(text, encoding="utf-8")
        publish(path, place)


def publish(file: str | os.PathLike[str], place: str) -> None:
    """Copy a local file to a place; the local one stays.

    Raises:
      RecordError: the place cannot be written to.
    """
    with _writing(place), open(file, "rb") as source:
        if is_remote(place):
            target = _systems().create(place, compression_type=_as_stored())
            with contextlib.closing(target):
                shutil.copyfileobj(source, target, _CHUNK)
            return
        temporary = f"{place}.tmp-{os.getpid()}"
        try:
            with open(temporary, "wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            os.replace(temporary, place)
        finally:
            pathlib.Path(temporary).unlink(missing_ok=True)


def fetch(place: str, file: str | os.PathLike[str]) -> None:
    """Copy a file of a place to a local one.

    Raises:
      MediaError: it cannot be read.
      RecordError: the local file cannot be written.
    """
    with open_read(place) as source, _writing(os.fspath(file)), open(file, "wb") as target:
        while chunk := _read_chunk(source, place):
            target.write(chunk)


def delete(place: str) -> None:
    """Remove a file, if it is there.

    Raises:
      RecordError: it cannot be removed.
    """
    with _writing(place):
        if not is_remote(place):
            pathlib.Path(place).unlink(missing_ok=True)
        elif _systems().exists(place):
            _systems().delete([place])


def delete_folder(place: str) -> None:
    """Remove a folder and all below it, as far as it can be removed."""
    if not is_remote(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    with contextlib.suppress(TalkfaceError):
        for name, _, _ in list_files(place):
            delete(join(place, name))


def make_folder(place: str) -> None:
    """Make a local folder with its parents; remote places make theirs as files are written.

    Raises:
      RecordError: it cannot be made.
    """
    if not is_remote(place):
        with _writing(place):
            os.makedirs(place, exist_ok=True)
        return
    with _writing(place):
        file_system = _systems().get_filesystem(place)
        if file_system.has_dirs() and not file_system.exists(place):
            file_system.mkdirs(place)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[bool]:
    """Hold the lock of a local folder, which is made, while the block runs.

    The system frees the lock with its process, however that ends. The folder may be deleted while
    the lock is held, and goes at the end if there is nothing else in it.

    Yields:
      Whether this process has the lock: False while another one does. Always True in a remote
      place, which has no locks.

    Raises:
      RecordError: the folder cannot be written to.
    """
    if is_remote(folder):
        make_folder(folder)
        yield True
        return
    file = _take_lock(folder)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(OSError):  # the folder may have been deleted
                if os.listdir(folder) == [_LOCK]:
                    os.unlink(join(folder, _LOCK))
            file.close()
            with contextlib.suppress(OSError):  # NFS keeps a deleted folder while a file is open
                os.rmdir(folder)


def _take_lock(folder: str) -> BinaryIO | None:
    place = join(folder, _LOCK)
    while True:
        make_folder(folder)
        with _writing(place):
            file = open(place, "ab")  # noqa: SIM115  the lock lives as long as it is open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that had the lock before may have removed the folder since the opening.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(place)):
                return file
        except BlockingIOError:
            file.close()
            return None
        except FileNotFoundError:
            pass
        except OSError as error:
            file.close()
            raise RecordError(
                f"{folder} cannot be locked ({error.strerror}); give an --out on a file system "
                "with locks."
            ) from error
        file.close()


@contextlib.contextmanager
def local_folder(place: str) -> Iterator[pathlib.Path]:
    """A folder to write files into: the place itself, or one whose files are then published.

    Raises:
      RecordError: the place cannot be written to.
    """
    if not is_remote(place):
        yield pathlib.Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)
        for path in sorted(pathlib.Path(folder).iterdir()):
            publish(path, join(place, path.name))


@contextlib.contextmanager
def local_files(place: str, *names: str) -> Iterator[pathlib.Path]:
    """A folder with these files of a place: the place itself, or one with copies.

    Raises:
      MediaError: a file cannot be read.
    """
    if not is_remote(place):
        yield pathlib.Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            fetch(join(place, name), pathlib.Path(folder, name))
        yield pathlib.Path(folder)


def import_beam() -> Any:
    """The package apache_beam; what it says while it loads is not for the user.

    Raises:
      TalkfaceError: it is not installed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import apache_beam
        import apache_beam.io.filesystems  # warns of extras that nobody asked for
    except ImportError as error:
        raise TalkfaceError(
            f"this needs Apache Beam, which cannot be loaded ({error}); run "
            f"`{extras.pip_line('beam')}`."
        ) from error
    finally:
        logging.disable(before)
    return apache_beam


def _systems() -> Any:
    return import_beam().io.filesystems.FileSystems


def _as_stored() -> str:
    """Beam would unpack a .gz on reading and pack one on writing."""
    import apache_beam.io.filesystem

    return apache_beam.io.filesystem.CompressionTypes.UNCOMPRESSED


def _walk(root: str) -> Iterator[tuple[str, int, int]]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(root, onerror=refuse):
        for name in names:
            path = os.path.join(folder, name)
            status = os.stat(path)
            relative = pathlib.Path(path).relative_to(root).as_posix()
            yield relative, status.st_size, status.st_mtime_ns


def _read_chunk(source: BinaryIO, place: str) -> bytes:
    with _reading(place):
        return source.read(_CHUNK)


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    with _naming_system(place):
        try:
            yield
        except OSError as error:
            raise MediaError(
                f"{place} cannot be read ({error.strerror or error}); check the path and your "
                "access to it."
            ) from error


@contextlib.contextmanager
def _writing(place: str) -> Iterator[None]:
    with _naming_system(place):
        try:
            yield
        except OSError as error:
            raise RecordError(
                f"{place} cannot be written ({error.strerror or error}); free disk space or give "
                "another --out."
            ) from error


@contextlib.contextmanager
def _naming_system(place: str) -> Iterator[None]:
    """Beam says ValueError of a scheme that none of its installed file systems knows."""
    try:
        yield
    except ValueError as error:
        if "Unable to get filesystem" not in str(error):
            raise
        raise ConfigError(
            f"{place}: no installed file system reaches such a place; install Beam's extra for it, "
            'e.g. pip install "apache-beam[gcp]" for gs://, or give a local folder.'
        ) from error
