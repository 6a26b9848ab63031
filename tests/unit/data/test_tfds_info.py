import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from talkface_jax.data import example, manifest, schema, store, tfds_info
from talkface_jax.errors import RecordError
from talkface_jax.media.images import decode_jpeg

VARIABLE = "TALKFACE_TENSORFLOW_PYTHON"
# TensorFlow decodes with libjpeg's fast transform: up to 14 levels apart on rendered faces, 1.1 on
# average; with its accurate one, none.
_TENSORFLOW_LEVELS = 16
# tfds's own use of protobuf.
pytestmark = pytest.mark.filterwarnings("ignore:label.. is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def segments(make_segment):
    """Split -> shards -> segments; one segment lies inside its clip, so it has context."""
    sound = np.random.default_rng(0).integers(-9000, 9000, 40 * 640).astype(np.int16)
    inner = make_segment(seed=2, frames=12, start=14, sound=sound, invalid=(3,))
    return {
        "train": [[make_segment(seed=1, frames=9), inner], [make_segment(seed=3, frames=7)]],
        "val": [[make_segment(seed=4, frames=8, split="val")]],
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory, segments):
    """A prepared directory with the names and files of TensorFlow Datasets."""
    root = tmp_path_factory.mktemp("tfds")
    entries = []
    for split, shards in segments.items():
        for k, held in enumerate(shards):
            path = root / tfds_info.shard_name("fake", split, k, len(shards))
            with store.ShardWriter(path) as writer:
                for segment in held:
                    writer.write(schema.encode(segment), schema.record_meta(segment))
            entries.append(manifest.shard_entry(path, split))
    made = manifest.Manifest("fake", tuple(entries), clips=4, licences=("made up",))
    tfds_info.write_tfds_info(root, made)
    manifest.write_manifest(root, made)
    return root


@pytest.fixture(scope="module")
def made(directory):
    return manifest.read_manifest(directory)


def _flat(value, prefix=""):
    if not isinstance(value, dict):
        return {prefix: value}
    rows = (_flat(inner, f"{prefix}/{name}" if prefix else name) for name, inner in value.items())
    return {name: leaf for row in rows for name, leaf in row.items()}


def _check_record(got, segment, tolerance):
    """Every feature of what TFDS read against the segment that was stored.

    `tolerance`: in levels of a decoded pixel.
    """
    stored = example.loads(schema.encode(segment))
    assert set(got) == set(stored)
    for name, values in stored.items():
        found = got[name]
        if name == "frames":
            expected = np.stack([decode_jpeg(data) for data in segment.frames]).astype(int)
            assert np.shape(found) == expected.shape
            assert np.abs(np.asarray(found, int) - expected).max() <= tolerance
        elif name in schema.PER_FRAME or name in ("audio", "context_before", "context_after"):
            before, after = segment.context
            context = {"context_before": before, "context_after": after}
            expected = context.get(name, getattr(segment, name, None))
            assert np.asarray(found).dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
        else:
            assert np.asarray(found).item() == values[0], name


def test_tfds_itself_finds_the_shards_and_reads_the_records(directory, segments):
    """Without TensorFlow, which only its own TFRecord reader needs."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(directory)
    info = builder.info
    assert (info.full_name, info.redistribution_info.license) == ("fake/1.0.0", "made up")
    assert set(info.splits) == set(segments)
    for split, shards in segments.items():
        assert info.splits[split].shard_lengths == [len(held) for held in shards]
        paths = [directory / name for name in info.splits[split].filenames]
        source = store.ShardSource(paths)
        stored = [source[k] for k in range(len(source))]
        assert info.splits[split].num_bytes == sum(map(len, stored))
        for data, segment in zip(stored, (s for held in shards for s in held), strict=True):
            _check_record(_flat(info.features.deserialize_example_np(data)), segment, 0)
    assert "tensorflow" not in sys.modules


def test_the_same_manifest_gives_the_same_bytes_and_nothing_is_left(directory, made, tmp_path):
    tfds_info.write_tfds_info(tmp_path, made)
    names = [tfds_info.DATASET_INFO, tfds_info.FEATURES]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()
        assert (tmp_path / name).read_text() == tfds_info.tfds_files(made)[name]
    assert str(tmp_path) not in (tmp_path / tfds_info.DATASET_INFO).read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "my-set"}, "'my-set'.*use letters, digits and _"),
        ({"dataset": "2sets"}, "'2sets'"),
        ({"split": "all"}, "'all'.*not 'all'"),
        ({"split": "held out"}, "'held out'"),
        ({"name": "train-0.tfrecord"}, r"train-0\.tfrecord must be named fake-train\.tfrecord-"),
    ],
)
def test_names_that_tfds_cannot_read_are_refused(made, tmp_path, change, message):
    of_set = {key: value for key, value in change.items() if key == "dataset"}
    of_shard = {key: value for key, value in change.items() if key != "dataset"}
    first = dataclasses.replace(made.shards[0], **of_shard)
    wrong = dataclasses.replace(made, shards=(first, *made.shards[1:]), **of_set)
    with pytest.raises(RecordError, match=message):
        tfds_info.write_tfds_info(tmp_path, wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_told(made, tmp_path):
    with pytest.raises(RecordError, match=r"features\.json cannot be written.*free disk space"):
        tfds_info.write_tfds_info(tmp_path / "none", made)


def _edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_what_contradicts_the_manifest_is_found(made, tmp_path):
    assert tfds_info.problems(tmp_path, made) == []  # no files, no claim
    tfds_info.write_tfds_info(tmp_path, made)
    assert tfds_info.problems(tmp_path, made) == []
    features, info = tmp_path / tfds_info.FEATURES, tmp_path / tfds_info.DATASET_INFO

    def without_docs(values):
        for feature in values["featuresDict"]["features"].values():
            feature.pop("description", None)

    _edit(features, without_docs)
    assert tfds_info.problems(tmp_path, made) == []

    def other_features(values):
        held = values["featuresDict"]["features"]
        held["landmarks"]["tensor"]["dtype"] = "float64"
        held["face"] = held.pop("box")
        del held["info"]["featuresDict"]["features"]["text"]

    _edit(features, other_features)
    found = tfds_info.problems(tmp_path, made)
    assert len(found) == 4
    for words in ("lacks feature box", "lacks feature info/text", "unknown feature face"):
        assert any(words in line for line in found), found
    assert any('feature landmarks as {"py' in line and "float64" in line for line in found)

    def other_splits(values):
        values["splits"][0]["shardLengths"] = ["2", "2"]
        values["splits"][1]["name"] = "test"
        values["name"] = "other"

    tfds_info.write_tfds_info(tmp_path, made)
    _edit(info, other_splits)
    found = tfds_info.problems(tmp_path, made)
    assert len(found) == 4
    for words in (
        "says name 'other', not 'fake'",
        "says shardLengths ['2', '2'] of split train, not ['2', '1']",
        "lacks split val",
        "unknown split test",
    ):
        assert any(words in line for line in found), found

    info.unlink()
    assert tfds_info.problems(tmp_path, made) == ["dataset_info.json is missing"]
    features.write_text("{")
    (_, unreadable) = tfds_info.problems(tmp_path, made)
    assert unreadable.startswith("features.json cannot be read")


def _tensorflow_python(folder: pathlib.Path) -> str:
    """A Python with TensorFlow: the one that the variable names, or a new environment's.

    The environment is installed from the package index: half a gigabyte, a minute or two.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    packages = (
        "tensorflow-cpu ; platform_machine == 'x86_64' and sys_platform == 'linux'",
        "tensorflow ; platform_machine != 'x86_64' or sys_platform != 'linux'",
        "tensorflow-datasets",
    )
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *packages], check=True)
    return str(python)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tensorflow_reads_what_was_stored(directory, segments, tmp_path):
    """`tfds.builder_from_directory` in an environment of its own.

    Set TALKFACE_TENSORFLOW_PYTHON to a Python that has tensorflow and tensorflow-datasets to use
    it; otherwise they are installed into a temporary environment.
    """
    python = _tensorflow_python(tmp_path / "venv")
    script = pathlib.Path(__file__).with_name("read_with_tensorflow.py")
    out = tmp_path / "read.npz"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([python, script, directory, out], check=True, env=environment)
    with np.load(out) as stored:
        got = {name: stored[name] for name in stored.files}
    print("tensorflow, tensorflow-datasets, data set:", *got.pop("versions"))
    count = 0
    for split, shards in segments.items():
        for number, segment in enumerate(s for held in shards for s in held):
            prefix = f"{split}/{number}/"
            mine = {k.removeprefix(prefix): v for k, v in got.items() if k.startswith(prefix)}
            count += len(mine)
            assert mine.pop("jpeg") == hashlib.sha256(b"".join(segment.frames)).hexdigest()
            _check_record(mine, segment, _TENSORFLOW_LEVELS)
    assert count == len(got)
