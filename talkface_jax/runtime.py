"""The machine under a run: files written whole, cache folder, JAX's persistent compilation cache.

Lowest layer beside the errors; importing it loads nothing heavy.
"""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator, Mapping

from talkface_jax.errors import TalkfaceError

CACHE_VARIABLE = "TALKFACE_CACHE"
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD = 1 << 22


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 text file so that it appears complete, on the disk, or not at all.

    Raises:
      OSError: it cannot be written; it names the file, of which an older one is as before.
    """
    write_together({path: text})


def write_together(texts: Mapping[pathlib.Path, str]) -> None:
    """Writes UTF-8 text files that belong together: none is in its place before all are on disk.

    Raises:
      OSError: one cannot be written; it names that file, and older files are as before.
    """
    for path in texts:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporaries = {path: path.with_name(f".{path.name}.tmp-{os.getpid()}") for path in texts}
    try:
        for path, temporary in temporaries.items():
            with _naming(path), open(temporary, "w", encoding="utf-8") as file:
                file.write(texts[path])
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            with _naming(path):
                os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Names the file in an OSError: that of a full disk names none, or the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def require_folder(path: pathlib.Path, *, flag: str) -> None:
    """Checks, before hours of work, that a folder exists or can be made, and be written to.

    Raises:
      TalkfaceError: a file is in the way, or permission is missing.
    """
    found = path.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        raise TalkfaceError(f"{flag}={path} cannot be a folder: {found} is a file; choose another")
    if not os.access(found, os.W_OK | os.X_OK):
        raise TalkfaceError(f"{flag}={path}: you may not write to {found}; choose another folder")


def cache_dir(*parts: str) -> pathlib.Path:
    """A folder under the user's cache, made on first use.

    It is `$TALKFACE_CACHE`, or else the platform's cache folder for `talkface_jax`.

    Raises:
      TalkfaceError: the folder cannot be made.
    """
    root = os.environ.get(CACHE_VARIABLE)
    if root is None:
        import platformdirs

        root = platformdirs.user_cache_path("talkface_jax")
    path = pathlib.Path(root).expanduser().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TalkfaceError(
            f"the cache folder {path} cannot be made ({error.strerror}); "
            f"set {CACHE_VARIABLE} to a folder that you may write"
        ) from error
    return path


def enable_compilation_cache(directory: pathlib.Path | None = None) -> pathlib.Path:
    """Makes JAX keep compiled programs on disk, so that a second start skips compilation.

    Args:
      directory: where to keep them. By default what JAX was told by `JAX_COMPILATION_CACHE_DIR`, or
        else `compilation` in `cache_dir()`.

    Returns:
      The folder in use.

    Raises:
      TalkfaceError: the folder cannot be made.
    """
    import jax

    told = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if directory is None:
        directory = pathlib.Path(told) if told else cache_dir("compilation")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TalkfaceError(
            f"the compilation cache {directory} cannot be made ({error.strerror}); "
            f"set {CACHE_VARIABLE} to a folder that you may write"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


def keep_heap_flat() -> bool:
    """Makes the C library give every freed array above 4 MiB back to the system at once.

    glibc raises that limit by itself, up to 32 MiB, as large arrays are freed; a long run of frames
    then lives in heaps that fragment, and its peak memory creeps up by the hour. For long streaming
    work (synthesis), called once by the process that owns it.

    Returns:
      False where the C library has no such setting (not glibc).
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD))
