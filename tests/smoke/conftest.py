"""What the tests of whole commands share: running them, a tiny bundle, a tiny prepared set."""

import contextlib
import dataclasses
import functools
import importlib.util
import logging
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.capabilities import Aspect
from talkface_jax.cli.main import main
from talkface_jax.export import bundle
from talkface_jax.media.video import VideoWriter, open_visual
from talkface_jax.methods import registry
from talkface_jax.methods.iplap.chain import METHOD
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.models.motion import landmark_transformer
from talkface_jax.models.render import reference_warping

Refused = Callable[..., str]
Contents = dict[str, bytes]

MOTION = MotionConfig(
    net=dataclasses.replace(landmark_transformer.SMALL, width=32, layers=1, mlp=32),
    references=5,
)
RENDER = RenderConfig(
    net=dataclasses.replace(reference_warping.SMALL, channels=4, deep=8),
    inference_references=2,
)


@pytest.fixture
def refused(capfd, caplog) -> Refused:
    """Runs a command that must fail; gives its one line on standard error, without the prefix.

    Progress bars are taken off; a warning in a log would be another line, so there must be none.
    """

    def run(command: str, *arguments: str, status: int = 1) -> str:
        capfd.readouterr()
        caplog.clear()
        try:
            got = main([command, *arguments])
        except SystemExit as stop:
            got = stop.code
        printed = capfd.readouterr().err
        lines = [line for line in printed.splitlines() if line.strip() and "━" not in line]
        logged = [row.getMessage() for row in caplog.records if row.levelno >= logging.WARNING]
        assert (got, len(lines), logged) == (status, 1, []), printed
        assert lines[0].startswith(f"talkface {command}: ")
        # One sentence: what is wrong, and the remedy behind a semicolon.
        assert ";" in lines[0] and "Traceback" not in lines[0] and len(lines[0]) < 700
        return lines[0].removeprefix(f"talkface {command}: ")

    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[pathlib.Path], Contents]:
    """All files below a folder, as bytes by relative path."""

    def read(folder: pathlib.Path) -> Contents:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    return read


@pytest.fixture(scope="session")
def altered() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """A context in which a file has other bytes; afterwards it is as before."""

    @contextlib.contextmanager
    def change(path: pathlib.Path, edit: Callable[[bytes], bytes]) -> Iterator[None]:
        before = path.read_bytes()
        path.write_bytes(edit(before))
        try:
            yield
        finally:
            path.write_bytes(before)

    return change


@pytest.fixture(scope="session")
def flip() -> Callable[[bytes], bytes]:
    """One bit of the middle byte turned over."""

    def edit(data: bytes) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    return edit


def _unit_support() -> Any:
    """What the unit tests make segments and prepared sets with."""
    path = pathlib.Path(__file__).parents[1] / "unit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("unit_support", path)
    assert spec is not None and spec.loader is not None
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    return support


@pytest.fixture(scope="session")
def faceless(tmp_path_factory) -> pathlib.Path:
    """A prepared set of two test segments without a face, as of sound alone."""
    support = _unit_support()
    segments = [support.build_segment(seed=seed, frames=24, split="test") for seed in (1, 2)]
    blind = [dataclasses.replace(item, valid=np.zeros(24, bool)) for item in segments]
    return support.write_prepared(tmp_path_factory.mktemp("faceless"), {"test-0": blind})


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory) -> pathlib.Path:
    """A prepared set of one training, val and test segment, in a shard each; not to be changed."""
    support = _unit_support()
    shards = {
        "train-0": [support.build_segment(seed=1)],
        "test-0": [support.build_segment(seed=4, frames=24, split="test")],
        "val-0": [support.build_segment(seed=5, frames=24, split="val")],
    }
    return support.write_prepared(tmp_path_factory.mktemp("tiny-prepared"), shards)


def _weights() -> dict:
    """Freshly initialised networks: a residual head near zero, so a nearly static mouth."""
    size = RENDER.net.size
    image, points = jnp.zeros((1, size, size, 3)), jnp.linspace(0, 1, 262).reshape(1, 131, 2)
    motion = jax.jit(landmark_transformer.LandmarkTransformer(MOTION.net).init)(
        jax.random.key(0),
        jnp.zeros((1, 5, 80, 16)),
        jnp.zeros((1, 5, 74, 2)),
        jnp.zeros((1, 5, 74, 2)),
        jnp.zeros((1, 5, 57, 2)),
    )
    net = reference_warping.ReferenceWarping(RENDER.net)
    render = jax.jit(functools.partial(net.init, points=points, reference_points=points[:, None]))(
        jax.random.key(1),
        image,
        jnp.zeros((1, 5, size, size, 3)),
        image[:, None],
        image[:, None],
        jnp.zeros((1, 80, 16)),
    )
    return {"motion": motion, "renderer": render}


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> pathlib.Path:
    """A bundle of tiny networks with random weights; not to be changed."""
    out = tmp_path_factory.mktemp("synthesis") / "bundle"
    configs = {"motion": MOTION, "render": RENDER}
    bundle.write_bundle(
        METHOD,
        METHOD.programs(configs),
        variables=_weights(),
        configs=configs,
        lineage={},
        out=out,
    )
    return out


@pytest.fixture(scope="session")
def portrait(data_dir) -> np.ndarray:
    """A face of 256 x 256 pixels."""
    with open_visual(data_dir / "astronaut.jpg") as image:
        return np.ascontiguousarray(image[0][:256, 96:352])


@pytest.fixture(scope="session")
def film() -> Callable[..., pathlib.Path]:
    """Writes 30 frames of one picture as an mp4, with noise as sound or without a track."""

    def write(path: pathlib.Path, picture: np.ndarray, *, sound: bool = True) -> pathlib.Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).normal(0, 0.05, 30 * 640).astype(np.float32)
        with VideoWriter(path, size=picture.shape[:2], audio=noise if sound else None) as writer:
            for _ in range(30):
                writer.write(picture)
        return path

    return write


@pytest.fixture(
    scope="session",
    params=[name for name, item in registry.methods().items() if Aspect.MOUTH in item.generates],
)
def walked(request, tmp_path_factory, repository) -> tuple[str, pathlib.Path]:
    """A method's name, and the folder of its walked demo: that of TALKFACE_DEMO, of the methods
    that lie there, else it is walked here."""
    if given := os.environ.get("TALKFACE_DEMO"):
        if not (pathlib.Path(given) / request.param).is_dir():
            pytest.skip(f"{given} has no {request.param}")
        return request.param, pathlib.Path(given)
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        assert main(["demo", f"--method={request.param}", f"--out={out}"]) == 0
    return request.param, out


@pytest.fixture(scope="session")
def sinha_demo(tmp_path_factory, repository) -> pathlib.Path:
    """Folder of a walked demo of sinha2020: that of TALKFACE_DEMO, else it is walked here."""
    if given := os.environ.get("TALKFACE_DEMO"):
        return pathlib.Path(given)
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        assert main(["demo", "--method=sinha2020", f"--out={out}"]) == 0
    return out
