"""The commands' functions on small things: what they return, refuse, and that they stay silent.

Those that need a bundle are in tests/smoke/test_api.py.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.api import converting, verifying
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, ConfigError, RecordError, TalkfaceError
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.torch_map import NETWORKS
from talkface_jax.train import checkpoint, initial

SMALL = (
    "task.net.width=32",
    "task.net.layers=1",
    "task.net.mlp=32",
    "data.batch_size=2",
    "data.threads=1",
    # A run that goes on to another end must not depend on it.
    "optim.schedule=constant",
    "train.log_every=2",
    "train.eval_every=0",
    "train.preview_every=0",
    "train.best_metric=",
)
DISC = ExperimentConfig("iplap", "render", RenderConfig(disc_channels=4))


@pytest.fixture(autouse=True)
def silent(capfd):
    """Nothing reaches the terminal in any of these tests."""
    yield
    assert capfd.readouterr() == ("", "")


def _experiment(repository, data, *overrides):
    config = f"{repository}/configs/iplap/motion.py:tiny"
    return api.load_experiment(config, [*SMALL, f"data.directory={data}", *overrides])


def test_training_reports_continues_and_starts_from(repository, prepared, tmp_path):
    experiment = _experiment(repository, prepared, "--config.train.steps=1")
    told, measured = [], []
    result = api.train(experiment, workdir=tmp_path / "first", progress=lambda *x: told.append(x))
    assert result.step == 1 and result.checkpoint == tmp_path / "first/checkpoints/1"
    assert told == [("iplap/motion", 0, 1), ("iplap/motion", 1, 1)]
    assert api.load_workdir_experiment(str(tmp_path / "first")) == experiment

    longer = _experiment(repository, prepared, "train.steps=3")
    told.clear()
    api.train(
        longer,
        workdir=tmp_path / "first",
        progress=lambda *x: told.append(x),
        measured=lambda step, values: measured.append((step, set(values))),
    )
    assert [done for _, done, _ in told] == [1, 2, 3]
    assert [step for step, _ in measured] == [2, 3]
    pace = {"steps_per_second", "data_wait", "learning_rate/motion"}
    # Both are steps at which metrics.jsonl has a line: the second by its period, the last always.
    assert all({"loss/motion/total", *pace} <= names for _, names in measured)

    fresh = dataclasses.replace(experiment, seed=1)
    api.train(fresh, workdir=tmp_path / "second", init_from=[tmp_path / "first"])
    _, info = checkpoint.load_params(tmp_path / "second")
    (origin,) = info["lineage"]["init_from"]
    assert origin["directory"] == str(tmp_path / "first") and origin["step"] == 3


def test_training_refuses(repository, prepared, tmp_path):
    experiment = _experiment(repository, prepared)
    (tmp_path / "file").write_text("")
    broken = dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, batch_size=0)
    )
    cases = [
        (dataclasses.replace(experiment, method="wav2lip"), "w", ConfigError, "no stage wav2lip/"),
        (broken, "w", ConfigError, "data.batch_size must be from 1 to 16384"),
        (experiment, "file", TalkfaceError, "file is a file; choose another"),
    ]
    for config, workdir, error, words in cases:
        with pytest.raises(error, match=words):
            api.train(config, workdir=tmp_path / workdir)
    with pytest.raises(CheckpointError, match=r"gone.* is missing|gone"):
        api.train(experiment, workdir=tmp_path / "w", init_from=[str(tmp_path / "gone")])
    assert not (tmp_path / "w").exists()


def test_experiments_are_refused_by_name(repository, tmp_path):
    motion = f"{repository}/configs/iplap/motion.py"
    for overrides in (["train.stepz=3"], ["--config.train.stepz=3"]):
        with pytest.raises(ConfigError, match=r"--config\.train\.stepz: unknown field stepz"):
            api.load_experiment(motion, overrides)
    with pytest.raises(ConfigError, match="no size 'huge'"):
        api.load_experiment(f"{motion}:huge")
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        api.load_workdir_experiment(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"method": "wav2lip", "stage": "motion"}))
    with pytest.raises(ConfigError, match=r"no stage wav2lip/motion; known stages: .*iplap/motion"):
        api.load_workdir_experiment(tmp_path)


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    """A working directory with a thin discriminator of random numbers."""
    rng = np.random.default_rng(0)
    shapes = NETWORKS["discriminator"].template(DISC.task)
    tree = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    folder = tmp_path_factory.mktemp("api") / "disc"
    info = {"method": "iplap", "stage": "render", "lineage": {}}
    initial.write_variables(folder, DISC, {"disc": tree}, info)
    return folder


def test_weights_go_to_pytorch_and_back(disc, tmp_path):
    names = {"method": "iplap", "stage": "discriminator"}
    file = api.to_torch(disc, out=tmp_path / "disc.safetensors", **names)
    assert (file.out, file.tensors) == (tmp_path / "disc.safetensors", 20)
    assert file.checkpoint == str(disc / "checkpoints" / "0")
    out = tmp_path / "new" / "disc"
    made = api.convert(str(file.out), out=out, experiment=DISC, terms="ask me", **names)
    before, after = (checkpoint.load_params(folder)[0]["disc"] for folder in (disc, out))
    jax.tree.map(np.testing.assert_array_equal, before["params"], after["params"])
    count = sum(leaf.size for leaf in jax.tree.leaves(before["params"]))
    network = api.ConvertedNetwork("discriminator", "disc", "disc.safetensors", count, 20, {})
    assert made == api.Conversion(out, (network,), (), "ask me")
    assert api.load_workdir_experiment(out) == DISC
    again = api.convert(file.out, out=tmp_path / "again", experiment=DISC, **names)
    assert again.terms == converting.UNKNOWN_TERMS


def test_conversion_refuses(disc, tmp_path):
    new, names = tmp_path / "new", {"method": "iplap", "stage": "discriminator"}
    motion = dataclasses.replace(DISC, stage="motion")
    cases = [
        ({"method": "wav2lip"}, "no PyTorch weights of method 'wav2lip'"),
        ({"stage": "smell"}, "smell is no network of iplap; use one of motion,"),
        ({"experiment": motion}, "config is of iplap/motion, but"),
        ({"experiment": motion, "where": "mine"}, "mine is of iplap/motion, but"),
    ]
    for change, words in cases:
        with pytest.raises(ConfigError, match=words):
            api.convert(disc / "config.json", out=new, **{**names, **change})
    with pytest.raises(CheckpointError, match="exists and is not empty"):
        api.convert(disc / "config.json", out=disc, **names)
    with pytest.raises(TalkfaceError, match=r"must end in \.safetensors"):
        api.to_torch(disc, out=tmp_path / "disc.pth", **names)
    with pytest.raises(ConfigError, match="iplap/render, but"):
        api.to_torch(disc, out=tmp_path / "motion.safetensors", **{**names, "stage": "motion"})
    assert not list(tmp_path.iterdir())


def test_a_missing_stage_is_named(disc, tmp_path):
    with pytest.raises(
        ConfigError,
        match="iplap has the stages motion, render; give a working directory of motion too",
    ):
        api.export({"render": disc}, out=tmp_path / "bundle")
    with pytest.raises(ConfigError, match="nothing to export; give the working directory of every"):
        api.export({}, out=tmp_path / "bundle")
    request = {"face": tmp_path / "a.png", "audio": tmp_path / "a.wav"}
    with pytest.raises(ConfigError, match="give a working directory of motion too"):
        api.synthesize({"render": disc}, out=tmp_path / "out.mp4", **request)
    # Before the networks are looked at.
    with pytest.raises(TalkfaceError, match=r"must end in \.mp4"):
        api.synthesize({"render": disc}, out=tmp_path / "out.gif", **request)
    assert not list(tmp_path.iterdir())


def test_verification_returns_what_is_wrong(prepared, tmp_path):
    found = api.verify(prepared, images=api.Images.NONE)
    assert found.statistics.total.segments == 4 and found.manifest.dataset == "fake"
    assert any("TensorFlow Datasets cannot read it" in note for note in found.notes)
    with pytest.raises(RecordError, match=str(tmp_path)):
        api.verify(str(tmp_path))


def test_files_for_tensorflow_datasets_are_looked_at_before_anything_is_drawn(
    prepared, monkeypatch
):
    """Loading that library is in the way of a thread that draws bars."""
    order = []

    def problems(directory, manifest):
        order.append((directory, manifest.dataset))
        return [f"problem {k}" for k in range(25)]

    monkeypatch.setattr(verifying.tfds_info, "problems", problems)
    found = api.verify(prepared, images=api.Images.NONE, progress=lambda *call: order.append(call))
    assert order[0] == (str(prepared), "fake") and order.count(order[0]) == 1
    assert len(order) > 1
    assert found.counts["tfds"] == 25 and not found.clean
    kept = [defect.reason for defect in found.defects if defect.kind == "tfds"]
    assert kept == [f"problem {k}" for k in range(20)]
