"""`talkface pack` of the reader of emotions."""

import dataclasses

import jax
import numpy as np
import pytest

from talkface_jax.cli import main as cli
from talkface_jax.config import DataConfig, ExperimentConfig
from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
from talkface_jax.data.schema import encode, record_meta
from talkface_jax.data.store import ShardWriter
from talkface_jax.features import emotion
from talkface_jax.methods.emotion.blendshapes.config import EmotionTaskConfig
from talkface_jax.models.frozen.emotion import EmotionConfig, EmotionNetwork
from talkface_jax.train import checkpoint
from talkface_jax.train.workdir import prepare_workdir

NET = EmotionConfig(hidden=(4,))


@pytest.fixture
def labelled(tmp_path, make_segment):
    """A prepared directory with one test record of a happy face."""
    segment = make_segment(frames=12, split="test")
    info = dataclasses.replace(segment.info, emotion=4, level=2)
    path = tmp_path / "test.tfrecord"
    with ShardWriter(path) as writer:
        segment = dataclasses.replace(segment, info=info)
        writer.write(encode(segment), record_meta(segment))
    write_manifest(tmp_path, Manifest("fake", (shard_entry(path, "test"),), 1))
    return tmp_path


def test_pack_writes_what_the_reader_reads(labelled, monkeypatch, capsys):
    given = np.zeros((1, emotion.STATISTICS), np.float32)
    variables = jax.device_get(EmotionNetwork(NET).init(jax.random.key(0), given))
    monkeypatch.setattr(
        checkpoint, "load_params", lambda workdir, players: ({players[0]: variables}, {"step": 7})
    )
    config = ExperimentConfig(
        "emotion", "blendshapes", EmotionTaskConfig(net=NET), data=DataConfig()
    )
    prepare_workdir(labelled / "run", config)
    out = labelled / "emotion.safetensors"
    arguments = [f"--workdir={labelled / 'run'}", f"--data={labelled}", f"--out={out}"]
    assert cli.main(["pack", *arguments]) == 0
    printed = capsys.readouterr().out
    network, read = emotion.read_weights(out)
    assert network == NET
    jax.tree.map(np.testing.assert_array_equal, dict(variables), read)
    assert "step 7" in printed and "level 2" in printed and "disgusted" in printed
