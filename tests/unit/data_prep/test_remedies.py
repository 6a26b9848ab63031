"""A damaged prepared set is mended by doing what the messages say, and by nothing more."""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from data_prep.speech.dataset import prepare_speech
from talkface_jax.cli import common, prepare
from talkface_jax.cli.main import main
from talkface_jax.data import manifest, pipeline, tfds_info
from talkface_jax.errors import RecordError

TRAIN = "speech-train.tfrecord-00000-of-00001"
INDEX = f"{TRAIN}.index.json"


def _prepare(out, capsys):
    """Status, what was printed, and the one line on standard error."""
    command = ["prepare", "--dataset=speech", "--clips=2", "--test-clips=1", f"--out={out}"]
    capsys.readouterr()
    status = main(command)
    printed = capsys.readouterr()
    return (
        status,
        printed.out,
        "".join(line for line in printed.err.splitlines() if line.startswith("talkface ")),
    )


def _records(out):
    dataset = pipeline.open_dataset(out, "train")
    return [dataset.segment(number).info.clip for number in range(len(dataset))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A set of two sentences and one; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "set"
    assert "verify" not in str(prepare_speech(out, clips=2, test_clips=1))
    return out


@pytest.fixture
def made(tmp_path, whole):
    """A copy of it that may be damaged, in a folder with a blank in its name."""
    return shutil.copytree(whole, tmp_path / "my set")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage", "first"),
    [
        (TRAIN, _cut, "is truncated"),
        (TRAIN, pathlib.Path.unlink, "is missing"),
        ("manifest.json", _cut, "cannot be read"),
    ],
)
def test_damaged_data_are_mended_by_a_new_folder(made, capsys, name, damage, first):
    damage(made / name)
    with pytest.raises(RecordError, match=first) as reading:
        _records(made)
    status, _, line = _prepare(made, capsys)
    assert status == 1 and line == f"talkface prepare: {reading.value}"
    (folder,) = re.findall(r"; remove the folder (.+) and run `talkface prepare` again$", line)
    shutil.rmtree(folder)
    assert _prepare(made, capsys)[0] == 0
    assert _records(made) == ["train-000000", "train-000001"]


@pytest.mark.parametrize("damage", [_empty, pathlib.Path.unlink])
def test_a_damaged_index_is_mended_by_the_printed_command(made, capsys, damage):
    whole = (made / INDEX).read_bytes()
    damage(made / INDEX)
    status, _, line = _prepare(made, capsys)
    assert status == 1
    with pytest.raises(RecordError) as reading:
        _records(made)
    assert line == f"talkface prepare: {reading.value}"
    command = line.partition("; rebuild its index with: ")[2]
    paths = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    root = str(pathlib.Path(__file__).parents[3])
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": root}
    subprocess.run(command, shell=True, check=True, env=environment, timeout=60)
    assert (made / INDEX).read_bytes() == whole
    assert _prepare(made, capsys)[0] == 0
    assert len(_records(made)) == 2


def test_an_index_of_other_records_is_found(made):
    shards = manifest.read_manifest(made).shards
    manifest.check_finished(made, shards)
    more = [dataclasses.replace(shard, records=shard.records + 1) for shard in shards]
    with pytest.raises(RecordError, match="2 indexed records, the manifest says 3; remove the"):
        manifest.check_finished(made, more)


def test_altered_bytes_are_not_called_sound(made, capsys):
    data = bytearray((made / TRAIN).read_bytes())
    data[len(data) // 2] ^= 1
    (made / TRAIN).write_bytes(data)
    status, printed, _ = _prepare(made, capsys)
    assert status == 0
    (check,) = re.findall(r"records were not read again, which `talkface (.+)` does", printed)
    assert check == f"verify '{made}'"
    assert main(["verify", str(made)]) == 1
    assert "remove the folder and run `talkface prepare` again" in capsys.readouterr().err


class _Stop(Exception):
    pass


@pytest.mark.parametrize(
    "flags", [["--dataset=speech", "--clips=2"], ["--dataset=folder", "--raw=nowhere"]]
)
def test_nothing_draws_bars_while_tensorflow_datasets_is_imported(monkeypatch, tmp_path, flags):
    """Its import is in the way of every import of another thread, as of the one that draws."""
    order = []

    def bars():
        order.append("bars")
        raise _Stop

    monkeypatch.setattr(tfds_info, "import_tfds", lambda: order.append("import"))
    monkeypatch.setattr(common, "progress_bars", bars)
    assert prepare.common is common
    with pytest.raises(_Stop):
        main(["prepare", f"--out={tmp_path / 'o'}", *flags])
    assert order == ["import", "bars"]


IMPORTS = """
import sys
from data_prep.speech.dataset import prepare_speech
from talkface_jax.data import tfds_info
from talkface_jax.data.manifest import Manifest, ShardEntry
name = tfds_info.shard_name("fake", "train", 0, 1)
tfds_info.import_tfds()
before = set(sys.modules)
tfds_info.tfds_files(Manifest("fake", (ShardEntry(name, "train", 1, 1, 1, 100, "x"),), 1))
sys.exit(", ".join(name for name in set(sys.modules) - before if "tensorflow" in name) or 0)
"""


def test_all_of_tensorflow_datasets_is_imported_at_once(repository):
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(repository)}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
