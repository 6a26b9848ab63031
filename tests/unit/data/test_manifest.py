import dataclasses
import json
import os
import shutil

import pytest

from talkface_jax.data import manifest
from talkface_jax.errors import RecordError


@pytest.fixture
def directory(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "prepared")


def test_round_trip(directory):
    found = manifest.read_manifest(directory)
    assert found.splits == ("test", "train")
    assert [shard.name for shard in found.of_split("train")] == [
        "train-0.tfrecord",
        "train-1.tfrecord",
    ]
    first = found.shards[0]
    assert (first.records, first.frames, first.valid_frames) == (2, 60, 57)
    more = dataclasses.replace(
        found,
        failures=(manifest.Failure("x", "no face"),),
        lineage={"raw": {"seed": 3}},
        versions={"numpy": "2"},
    )
    manifest.write_manifest(directory, more)
    assert manifest.read_manifest(directory) == more


def test_intact_shards_pass(directory):
    found = manifest.read_manifest(directory)
    manifest.check_sizes(directory, found.shards)
    manifest.check_hashes(directory, found.shards)


def test_missing_truncated_and_altered_shards(directory):
    shards = manifest.read_manifest(directory).shards
    path = directory / shards[1].name
    with open(path, "r+b") as file:
        file.seek(500)
        file.write(b"XXXX")
    manifest.check_sizes(directory, shards)
    with pytest.raises(RecordError, match=r"train-1\.tfrecord was altered"):
        manifest.check_hashes(directory, shards)
    os.truncate(path, 100)
    with pytest.raises(RecordError, match=r"train-1\.tfrecord is truncated: 100 bytes"):
        manifest.check_sizes(directory, shards)
    os.truncate(path, 0)
    with pytest.raises(RecordError, match=r"train-1\.tfrecord is empty"):
        manifest.check_sizes(directory, shards)
    path.unlink()
    with pytest.raises(
        RecordError, match=rf"-1\.tfrecord is missing; remove the folder {directory}"
    ):
        manifest.check_sizes(directory, shards)


def test_unknown_split_names_the_known_ones(directory):
    with pytest.raises(RecordError, match=r"no split 'valid'; use one of: test, train"):
        manifest.read_manifest(directory).of_split("valid")


def test_bad_manifests(directory, tmp_path):
    with pytest.raises(RecordError, match=r"has no manifest\.json; give the output"):
        manifest.read_manifest(tmp_path)
    path = directory / "manifest.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "schema_version": 7}))
    with pytest.raises(RecordError, match="schema version 7"):
        manifest.read_manifest(directory)
    path.write_text(json.dumps({**values, "clips": "many"}))
    with pytest.raises(RecordError, match=r"clips.*talkface prepare"):
        manifest.read_manifest(directory)
    path.write_text("{")
    with pytest.raises(RecordError, match="cannot be read"):
        manifest.read_manifest(directory)
