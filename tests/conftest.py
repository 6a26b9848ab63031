"""Shared fixtures. The compilation cache makes second runs of every jitted test cheap."""

import fcntl
import importlib.metadata
import os
import pathlib
import tomllib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import platformdirs
import pytest

DATA = pathlib.Path(__file__).parent / "data"
REPOSITORY = pathlib.Path(__file__).parents[1]


def pytest_configure(config):
    """Settings of JAX for this process and for its children: compilation is cached, and quick."""
    cache = pathlib.Path(
        os.environ.setdefault(
            "JAX_COMPILATION_CACHE_DIR",
            str(platformdirs.user_cache_path("talkface_jax") / "test-compilation"),
        )
    )
    cache.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if "not slow" in config.option.markexpr:
        # Small networks are compiled for longer than they run; slow tests and benchmarks are not.
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        quick = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
        jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """Real and vendored media of the tests."""
    return DATA


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture
def own_metadata(monkeypatch, repository) -> None:
    """What this package asks for is what pyproject.toml says now, not when it was installed."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra, needs in project["optional-dependencies"].items():
        lines += [f'{need}; extra == "{extra}"' for need in needs]
    real = importlib.metadata.requires
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda name: lines if name == project["name"] else real(name),
    )


@pytest.fixture(scope="session")
def synthetic_heads(tmp_path_factory) -> pathlib.Path:
    """A prepared set of synthetic heads, not to be changed: two training, a test and a val clip.

    The seed is one by which every split has a clip of 75 frames, the longest window of a stage.
    The processes of one test run share it: whoever comes first makes it.
    """
    root = tmp_path_factory.getbasetemp()
    # Of several processes each has a folder of its own in that of the run.
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    out = shared / "synthetic-heads"
    with open(shared / "synthetic-heads.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "manifest.json").exists():
            made = ["prepare", "--dataset=synthetic", "--clips=2", "--test-clips=1", "--seed=10"]
            from talkface_jax.cli.main import main

            assert main([*made, f"--out={out}"]) == 0
    return out
