"""The machine under a run: files written whole, cache folder, JAX's persistent compilation cache.

Lowest layer beside the errors; importing it loads nothing heavy.
"""

import os
import pathlib

from talkface_jax.errors import TalkfaceError

CACHE_VARIABLE = "TALKFACE_CACHE"
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD = 1 << 22


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 text file so that it appears complete, on the disk, or not at all.

    Raises:
      OSError: it cannot be written; an older file of that name is as before.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
