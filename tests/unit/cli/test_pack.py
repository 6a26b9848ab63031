"""`talkface pack`: the file that it writes, what it prints, and its refusals."""

import dataclasses

import jax
import numpy as np
import pytest

from talkface_jax.cli import main as cli
from talkface_jax.config import DataConfig, ExperimentConfig
from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
from talkface_jax.data.schema import encode, record_meta
from talkface_jax.data.store import ShardWriter
from talkface_jax.features import ctc29
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.speech.ctc29.config import Ctc29Config
from talkface_jax.models.frozen.ctc import CtcConfig, CtcNetwork
from talkface_jax.train import checkpoint
from talkface_jax.train.workdir import prepare_workdir

NET = CtcConfig(bands=8, channels=8, dilations=(1,))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A working directory whose checkpoint would hold fresh parameters."""
    mel = np.zeros((1, 8, NET.bands), np.float32)
    variables = CtcNetwork(NET).init(jax.random.key(0), mel)
    asked = []

    def load_params(workdir, players):
        asked.append((workdir, tuple(players)))
        return {"ctc": variables}, {"step": 7}

    monkeypatch.setattr(checkpoint, "load_params", load_params)
    config = ExperimentConfig("speech", "ctc29", Ctc29Config(net=NET), data=DataConfig())
    prepare_workdir(tmp_path / "run", config)
    return tmp_path / "run", variables["params"], asked


@pytest.fixture
def spoken(tmp_path, make_segment):
    """A prepared directory with one test record that has a text."""
    segment = make_segment(frames=125, split="test")
    info = dataclasses.replace(segment.info, speaker="anna", text="a moon")
    path = tmp_path / "test.tfrecord"
    with ShardWriter(path) as writer:
        segment = dataclasses.replace(segment, info=info)
        writer.write(encode(segment), record_meta(segment))
    write_manifest(tmp_path, Manifest("fake", (shard_entry(path, "test"),), 1))
    return tmp_path


def test_pack_writes_what_the_feature_reads(trained, spoken, tmp_path, capsys):
    workdir, params, asked = trained
    out = tmp_path / "ctc29.safetensors"
    status = cli.main(["pack", f"--workdir={workdir}", f"--data={spoken}", f"--out={out}"])
    printed = capsys.readouterr().out
    assert status == 0
    assert asked == [(workdir, ("ctc",))]
    network, read = ctc29.read_weights(out)
    assert network == NET
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), dict(params), read)
    assert "step 7" in printed and "anna" in printed and "%" in printed


def test_pack_refuses_another_stage(tmp_path, capsys):
    prepare_workdir(tmp_path / "run", ExperimentConfig("iplap", "motion", MotionConfig()))
    status = cli.main(["pack", f"--workdir={tmp_path / 'run'}", "--data=d", "--out=o"])
    error = capsys.readouterr().err
    assert status == 1
    assert "iplap/motion" in error and "speech/ctc29" in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()
