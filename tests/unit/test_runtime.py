"""Cache folders: where they are, and what happens where they cannot be; and files written whole."""

import errno
import os
import platform
import subprocess
import sys

import jax
import pytest

from talkface_jax import runtime
from talkface_jax.errors import TalkfaceError


@pytest.fixture
def compilation_config():
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_cache_folder_is_made_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path / "cache"))
    path = runtime.cache_dir("weights", "vgg")
    assert path == tmp_path / "cache" / "weights" / "vgg" and path.is_dir()


def test_folder_that_cannot_be_made_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(TalkfaceError, match="set TALKFACE_CACHE to a folder"):
        runtime.cache_dir("weights")


def test_compiled_programs_are_kept(tmp_path, monkeypatch, compilation_config):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("TALKFACE_CACHE", str(tmp_path))
    assert runtime.enable_compilation_cache() == tmp_path / "compilation"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compilation")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "told"))
    assert runtime.enable_compilation_cache() == tmp_path / "told"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_the_c_library_takes_the_fixed_limit():
    """That it keeps memory flat is measured by the slow test of synthesis."""
    program = "from talkface_jax import runtime; print(runtime.keep_heap_flat())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "ü.json"
    runtime.write_whole(path, "old ü")
    assert path.read_bytes() == "old ü".encode()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        runtime.write_whole(path, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text(encoding="utf-8") == "old ü"
    assert list(tmp_path.iterdir()) == [path]
