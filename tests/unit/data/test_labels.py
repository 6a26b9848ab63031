"""Clips without an emotion, where one is needed: one sentence, wherever they are met."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from reading import WhereView

from talkface_jax.cli.main import main
from talkface_jax.data import labels, memory, pipeline, store, verify
from talkface_jax.data.corrupt import CorruptRecords
from talkface_jax.data.mixture import Mixture
from talkface_jax.data.schema import NOT_INDEXED
from talkface_jax.emotions import EMOTIONS, of_label
from talkface_jax.errors import ConfigError

HAPPY, NEUTRAL = EMOTIONS.index("happy"), EMOTIONS.index("neutral")
REFUSED = (
    r"clip clip\d of data set fake( \(split train of .*\))? has no emotion, which this stage is "
    r"trained with; give emotion and level of every clip in its metadata.csv and prepare it again, "
    r"or train on data that have them, as MEAD has"
)


class MoodView(WhereView):
    """The label of every window; asks for it while it reads."""

    name = "mood"

    def sample(self, segment, start, rng, *, train):
        return {"row": segment.derived("label", labels.label_of)}


class AnnouncedMoodView(MoodView):
    """The same, and says so before."""

    labels = True


@pytest.fixture(scope="module")
def make(make_segment):
    def made(clip, emotion, level=2, split="train"):
        segment = make_segment(seed=clip, frames=8, split=split)
        info = dataclasses.replace(segment.info, clip=f"clip{clip}", emotion=emotion, level=level)
        return dataclasses.replace(segment, info=info)

    return made


@pytest.fixture
def folder(tmp_path, make, write):
    """Clip 2 of three has no label."""
    rows = [make(0, HAPPY), make(1, NEUTRAL, -1), make(2, -1, -1)]
    (tmp_path / "data").mkdir()
    shards = {"train-0": rows, "val-0": [make(3, HAPPY, split="val")]}
    return write(tmp_path / "data", shards)


def test_a_clip_is_its_vector(make):
    segment = make(0, HAPPY, 1)
    for given in (segment, segment.info):
        np.testing.assert_array_equal(labels.label_of(given), of_label(HAPPY, 1))
    assert not labels.label_of(make(0, NEUTRAL, -1)).any()


@pytest.mark.parametrize(("label", "lacks"), [((-1, 3), "emotion"), ((HAPPY, -1), "level")])
def test_a_clip_without_is_named(make, label, lacks):
    with pytest.raises(ConfigError, match=f"^clip clip7 of data set fake has no {lacks}, which"):
        labels.label_of(make(7, *label))


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 2}, {"workers": 1}])
def test_training_ends_with_it_and_counts_no_damage(folder, options):
    dataset, corrupt = pipeline.open_dataset(folder, "train"), CorruptRecords(10)
    batches = pipeline.train_iterator(
        dataset, MoodView(), batch_size=4, seed=0, corrupt=corrupt, **options
    )
    try:
        with pytest.raises(ConfigError) as refused:
            for _ in range(20):
                next(batches)
    finally:
        batches.close()
    assert type(refused.value) is ConfigError and corrupt.count == 0
    # Beside what Grain notes on tracebacks, which `match` would see.
    assert re.fullmatch(REFUSED, str(refused.value))


def test_evaluation_ends_with_it_and_counts_no_damage(folder):
    dataset, corrupt = pipeline.open_dataset(folder, "train"), CorruptRecords(10)
    with pytest.raises(ConfigError, match=f"^{REFUSED}$"):
        list(pipeline.eval_batches(dataset, MoodView(), batch_size=2, corrupt=corrupt))
    assert corrupt.count == 0


def test_a_view_that_says_so_is_refused_before_a_record_is_read(folder, monkeypatch):
    dataset = pipeline.open_dataset(folder, "train")
    monkeypatch.setattr(pipeline.PreparedDataset, "segment", None)
    for given in (dataset, Mixture((dataset, dataset), (1.0, 1.0))):
        with pytest.raises(ConfigError, match=rf"^{REFUSED}$") as refused:
            pipeline.train_iterator(given, AnnouncedMoodView(), batch_size=1, seed=0)
        assert f"clip2 of data set fake (split train of {folder})" in str(refused.value)
    with pytest.raises(ConfigError, match=f"^{REFUSED}$"):
        next(pipeline.eval_batches(dataset, AnnouncedMoodView(), batch_size=1))


def test_labelled_data_are_read(folder, make):
    val = pipeline.open_dataset(folder, "val")
    for dataset in (val, memory.hold([make(0, HAPPY), make(1, NEUTRAL, -1)])):
        batches = pipeline.train_iterator(dataset, AnnouncedMoodView(), batch_size=2, seed=0)
        assert next(batches)["row"].shape == (2, 8)


def test_segments_in_memory_are_refused_too(make):
    with pytest.raises(ConfigError, match=r"clip clip2 of data set fake \(the set in memory\)"):
        pipeline.train_iterator(
            memory.hold([make(2, -1, -1)]), AnnouncedMoodView(), batch_size=1, seed=0
        )


def _older(shard):
    """The index as it was before labels stood in it."""
    body = json.loads(store.index_path(shard).read_text()) | {"index_version": 1}
    for record in body["records"]:
        del record["meta"]["emotion"], record["meta"]["level"]
    body.pop("crc32c")
    body["crc32c"] = store._body_crc(body)
    store.index_path(shard).write_text(json.dumps(body))


def test_a_set_of_before_is_read_and_tells_how_it_gets_its_labels(folder):
    for name in ("train-0", "val-0"):
        _older(folder / f"{name}.tfrecord")
    dataset = pipeline.open_dataset(folder, "val")
    assert {meta.emotion for meta in dataset.metas} == {NOT_INDEXED}
    batches = pipeline.train_iterator(dataset, MoodView(), batch_size=1, seed=0)
    np.testing.assert_array_equal(next(batches)["row"], [of_label(HAPPY, 2)])
    assert "index" not in verify.verify(folder).counts
    with pytest.raises(ConfigError) as refused:
        pipeline.train_iterator(dataset, AnnouncedMoodView(), batch_size=1, seed=0)
    said = f"{folder} was prepared before emotions stood in the index; rebuild its indices with: "
    assert str(refused.value).startswith(said) and str(refused.value).endswith(str(folder))
    command = str(refused.value).partition("rebuild its indices with: python ")[2]
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    dataset = pipeline.open_dataset(folder, "val")
    assert [meta.emotion for meta in dataset.metas] == [HAPPY]
    next(pipeline.train_iterator(dataset, AnnouncedMoodView(), batch_size=1, seed=0))


def test_talkface_train_ends_with_that_sentence(folder, tmp_path, repository, capsys):
    config = repository / "configs" / "emotion" / "blendshapes.py"
    arguments = [f"--config={config}:tiny", f"--workdir={tmp_path / 'run'}", "--no-progress"]
    data = ["--config.data.max_corrupt=10", f"--config.data.directory={folder}"]
    assert main(["train", *arguments, *data]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "clip clip2 of data set fake (split train" in error
