"""`talkface convert`: what it refuses, and what it writes back."""

import hashlib
import json

import numpy as np
import pytest

from talkface_jax import __version__
from talkface_jax.cli import main as cli
from talkface_jax.config import ExperimentConfig, TrainConfig
from talkface_jax.interop import torch_file
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.torch_map import NETWORKS
from talkface_jax.train import checkpoint, initial
from talkface_jax.train.workdir import prepare_workdir

TASK = RenderConfig(disc_channels=4)
EXPERIMENT = ExperimentConfig("iplap", "render", TASK)
NAMES = ("--method=iplap", "--stage=discriminator")
CONFIG = ("--config=configs/iplap/render.py:base", "--config.task.disc_channels=4")


@pytest.fixture(autouse=True)
def in_repository(monkeypatch, repository):
    monkeypatch.chdir(repository)


def variables(seed=0):
    """A thin discriminator's, of distinct numbers."""
    import jax

    rng = np.random.default_rng(seed)
    shapes = NETWORKS["discriminator"].template(TASK)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A directory as `convert` makes it."""
    folder = tmp_path_factory.mktemp("convert") / "disc"
    info = {"method": "iplap", "stage": "render", "lineage": {"terms": "ask me"}}
    initial.write_variables(folder, EXPERIMENT, {"disc": variables()}, info)
    return folder


@pytest.fixture(scope="module")
def weights(workdir):
    """The same as a file for PyTorch."""
    path = workdir.parent / "disc.safetensors"
    arguments = [*NAMES, f"--from={workdir}", f"--to-torch={path}"]
    assert cli.main(["convert", *arguments]) == 0
    return path


def refused(capsys, *arguments):
    capsys.readouterr()
    assert cli.main(["convert", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and ";" in error
    return error


USAGE = [
    ((), "required: --method, --stage"),
    (NAMES, "one of the arguments --torch --to-torch is required"),
    ((*NAMES, "--torch=a", "--to-torch=b.safetensors"), "not allowed with argument"),
    ((*NAMES, "--torch=a"), "--torch needs --out=DIR"),
    ((*NAMES, "--to-torch=b.safetensors"), "--to-torch needs --from=DIR"),
    ((*NAMES, "--torch=a", "--out=b", "--from=c"), "--from does not go with --torch"),
    ((*NAMES, "--torch=a", "--out=b", "--step=3"), "--step does not go with --torch"),
    ((*NAMES, "--to-torch=b.safetensors", "--from=c", "--terms=d"), "--terms does not go with"),
    ((*NAMES, "--to-torch=b.safetensors", "--from=c", "--out=d"), "--out does not go with"),
    ((*NAMES, "--torch=a", "--out=b", "--config.seed=3"), "--config.a.b=value needs --config=FILE"),
    ((*NAMES, "--to-torch=b", "--from=c", "--step=-1"), "at least 0"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_bad_usage(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert words in error and "talkface convert --help" in error


def test_what_cannot_be_read(weights, tmp_path, capsys):
    out, taken = tmp_path / "out", tmp_path / "taken"
    taken.mkdir()
    (taken / "note").write_text("mine")
    base, there = ("--method=iplap", f"--torch={weights}"), f"--out={out}"
    tiny = "--config=configs/iplap/render.py:tiny"
    cases = [
        (("--method=wav2lip", "--stage=motion", f"--torch={weights}", there), "'wav2lip'"),
        ((*base, "--stage=smell", there), "smell is no network of iplap; use one of motion,"),
        ((*NAMES, f"--torch={tmp_path / 'no.pth'}", there), "no.pth"),
        ((*NAMES, f"--torch={tmp_path}", there), f"{tmp_path} is a folder"),
        ((*NAMES, base[1], f"--out={taken}"), "taken exists and is not empty; choose another"),
        ((*NAMES, base[1], f"--out={weights / 'x'}"), "is a file; choose another"),
        ((*NAMES, base[1], there, "--config=configs/iplap/motion.py"), "is of iplap/motion, but"),
        ((*NAMES, base[1], there, "--config=configs/none.py"), "configs/none.py"),
        ((*base, "--stage=render", there, tiny), "task.net.design is 'mouth'"),
        # The file is thinner than the published network.
        ((*NAMES, base[1], there), "(4, 3, 4, 4), but this network needs (64, 3, 4, 4)"),
        ((*base, "--stage=motion", there), str(weights)),
    ]
    for arguments, words in cases:
        line = refused(capsys, *arguments)
        assert words in line, line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]
    assert [path.name for path in taken.iterdir()] == ["note"]


def test_there_and_back(workdir, weights, tmp_path, capsys):
    out = tmp_path / "folder" / "disc"
    arguments = [*NAMES, f"--torch={weights}", f"--out={out}", *CONFIG, "--terms=[ask] me"]
    assert cli.main(["convert", *arguments]) == 0
    text = capsys.readouterr().out
    assert "from 20 tensors of disc.safetensors; none ignored" in text
    assert "terms: [ask] me" in text
    stored, info = checkpoint.load_params(out)
    expected = variables()["params"]
    for scale, layers in expected.items():
        for layer, arrays in layers.items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(stored["disc"]["params"][scale][layer][name], array)
    assert info["lineage"]["terms"] == "[ask] me"
    # pix2pixHD counts its scales from the smallest input and has BGR images, channels first.
    tensor = torch_file.read_state_dict(weights)["scale1_layer0.0.weight"]
    kernel = expected["scale_0"]["conv_0"]["kernel"]
    np.testing.assert_array_equal(tensor, kernel[:, :, ::-1].transpose(3, 2, 0, 1))


def test_origin_of_the_weights_is_recorded(weights, tmp_path, capsys):
    """An npz of keys with DataParallel's prefix, under another name."""
    path = tmp_path / "weights.bin"
    tensors = torch_file.read_state_dict(weights)
    with path.open("wb") as file:
        np.savez(file, **{f"module.{key}": array for key, array in tensors.items()})
    out = tmp_path / "out"
    assert cli.main(["convert", *NAMES, f"--torch={path}", f"--out={out}", *CONFIG]) == 0
    _, info = checkpoint.load_params(out)
    assert info["lineage"] == {
        "source": "weights.bin",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "npz",
        "terms": "unknown; ask who trained these weights",
        "converted_by": f"talkface_jax {__version__}",
    }
    assert f"terms: {info['lineage']['terms']}" in capsys.readouterr().out


def test_metadata_of_what_is_written(workdir, weights):
    import safetensors

    with safetensors.safe_open(str(weights), framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["stage"] == "discriminator" and metadata["averaged"] == "false"
    assert metadata["checkpoint"] == str(workdir / "checkpoints" / "0")
    assert json.loads(metadata["lineage"]) == {"terms": "ask me"}


def test_a_step_is_chosen_and_the_average_is_taken(tmp_path):
    import jax.numpy as jnp

    from talkface_jax.task import Averages, Net, TrainState

    prepare_workdir(tmp_path, EXPERIMENT)
    with checkpoint.Checkpoints(tmp_path, TrainConfig(keep_latest=2)) as checkpoints:
        for step in (3, 5):
            params, mean = (variables(seed)["params"] for seed in (step, step + 1))
            nets = {"disc": Net(params=params, stats={}, constants={}, opt_state=())}
            ema = {"disc": Averages(params=mean, stats={})}
            state = TrainState(jnp.int32(step), jnp.zeros(2), nets, ema)
            checkpoints.save(state, {"data": {}})
    written = {}
    for name, more in (("best", ()), ("third", ("--step=3",))):
        path = tmp_path / f"{name}.safetensors"
        arguments = [*NAMES, f"--from={tmp_path}", f"--to-torch={path}", *more]
        assert cli.main(["convert", *arguments]) == 0
        written[name] = torch_file.read_state_dict(path)["scale1_layer0.0.bias"]
    for name, seed in (("best", 6), ("third", 4)):
        bias = variables(seed)["params"]["scale_0"]["conv_0"]["bias"]
        np.testing.assert_array_equal(written[name], bias)


def test_what_cannot_be_written(workdir, weights, tmp_path, capsys):
    new = tmp_path / "new.safetensors"
    source, before = f"--from={workdir}", weights.read_bytes()
    cases = [
        ((*NAMES, source, f"--to-torch={tmp_path / 'new.pth'}"), "must end in .safetensors"),
        ((*NAMES, source, f"--to-torch={weights}"), "exists; choose another name"),
        ((*NAMES, f"--from={tmp_path}", f"--to-torch={new}"), "config.json is missing"),
        ((*NAMES, source, f"--to-torch={new}", "--step=7"), "checkpoints there: 0"),
        (("--method=iplap", "--stage=motion", source, f"--to-torch={new}"), "iplap/render, but"),
        (("--method=iplap", "--stage=render", source, f"--to-torch={new}"), "it has: disc; give"),
    ]
    for arguments, words in cases:
        line = refused(capsys, *arguments)
        assert words in line, line
    assert weights.read_bytes() == before and not list(tmp_path.iterdir())
