"""Bad shards, configs, working directories and disks, typed as commands: earlier state intact."""

import contextlib
import json
import re
import shutil
import subprocess
import sys

import pytest

from talkface_jax.cli.main import main
from talkface_jax.train import checkpoint

CONFIG = "--config=configs/iplap/motion.py:tiny"
SMALL = (
    "--no-progress",
    "--config.task.net.width=32",
    "--config.task.net.layers=1",
    "--config.task.net.mlp=32",
    "--config.data.batch_size=2",
    "--config.data.eval_batches=1",
    "--config.optim.schedule=constant",
    "--config.train.log_every=1",
    "--config.train.eval_every=0",
    "--config.train.preview_every=0",
    "--config.train.best_metric=",
    "--config.train.keep_latest=3",
)


def _train(workdir, data, *overrides, steps=2):
    place = (f"--workdir={workdir}", f"--config.data.directory={data}")
    return ["train", CONFIG, *place, *SMALL, f"--config.train.steps={steps}", *overrides]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, repository):
    """Configs are named relative to it."""
    monkeypatch.chdir(repository)


@pytest.fixture(scope="module")
def data(tmp_path_factory, tiny_prepared):
    """A prepared set that tests may damage for a while."""
    return shutil.copytree(tiny_prepared, tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data, repository):
    """A working directory with the checkpoint of step 1; not to be changed."""
    workdir = tmp_path_factory.mktemp("trained") / "motion"
    with contextlib.chdir(repository):
        assert main(_train(workdir, data, steps=1)) == 0
    return workdir


@pytest.fixture
def workdir(tmp_path, trained):
    """A copy of it, to be continued to step 2."""
    return shutil.copytree(trained, tmp_path / "motion")


@pytest.fixture
def kept(workdir, contents):
    """A check that the checkpoint of step 1 is as it was and that nothing lies beside it."""
    before = contents(workdir / "checkpoints")

    def check():
        assert contents(workdir / "checkpoints") == before
        assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["1"]
        assert not list(workdir.rglob("*tmp*"))

    return check


def _renamed(data):
    """An index with a right checksum of its own, whose records are elsewhere."""
    from talkface_jax.data import store

    body = json.loads(data)
    body.pop("crc32c")
    body["records"][0]["length"] -= 8
    return json.dumps({**body, "crc32c": store._body_crc(body)}, separators=(",", ":")).encode()


SHARDS = [
    (
        "train-0.tfrecord",
        "truncated",
        lambda data: data[:-100],
        r"is truncated.*; remove the folder .*",
    ),
    ("train-0.tfrecord", "empty", lambda data: b"", r"is empty.*; remove the folder .*"),
    ("train-0.tfrecord", "flipped", None, r"record 0: .*altered; remove its folder"),
    (
        "train-0.tfrecord",
        "longer",
        lambda data: data + b"more",
        r"is altered.*; remove the folder .*",
    ),
    ("train-0.tfrecord.index.json", "empty", lambda data: b"", r"cannot be used.*rebuild"),
    ("train-0.tfrecord.index.json", "flipped", None, r"cannot be used.*rebuild"),
    ("train-0.tfrecord.index.json", "of another", _renamed, r"does not match.*rebuild"),
    (
        "manifest.json",
        "truncated",
        lambda data: data[:-100],
        r"cannot be read.*; remove the folder .*",
    ),
    (
        "manifest.json",
        "of another version",
        lambda data: b"{}",
        r"schema version.*; remove the folder .*",
    ),
]


@pytest.mark.parametrize(("name", "what", "edit", "words"), SHARDS)
def test_training_on_a_damaged_set(
    data, workdir, kept, refused, altered, flip, name, what, edit, words
):
    with altered(data / name, edit or flip):
        line = refused(*_train(workdir, data))
    assert str(data / name.removesuffix(".index.json")) in line and re.search(words, line), line
    kept()


@pytest.mark.parametrize("name", ["train-0.tfrecord", "train-0.tfrecord.index.json"])
def test_training_on_a_set_with_a_missing_file(data, workdir, kept, refused, name):
    away = data / "away"
    (data / name).rename(away)
    try:
        line = refused(*_train(workdir, data))
    finally:
        away.rename(data / name)
    assert name in line and re.search("is missing; |has no index", line), line
    kept()


def test_evaluating_a_damaged_set(data, tiny_bundle, tmp_path, refused, altered, flip):
    out = tmp_path / "scores"
    with altered(data / "test-0.tfrecord", flip):
        line = refused("evaluate", f"--bundle={tiny_bundle}", f"--data={data}", f"--out={out}")
    assert re.search(r"test-0\.tfrecord, record 0: .*; remove its folder and run", line), line
    assert not out.exists()


def test_training_without_its_data(tmp_path, refused, tiny_prepared):
    cases = [
        ("", "data.directory is empty; set --config.data.directory=DIR"),
        (tmp_path / "no", "has no manifest.json; give the output"),
        (tiny_prepared, "no split 'none'; use one of"),
    ]
    for directory, words in cases:
        other = ("--config.data.train_split=none",) if directory == tiny_prepared else ()
        line = refused(*_train(tmp_path / "motion", directory, *other))
        assert words in line, line
    sound = tmp_path / "sound"
    made = ["prepare", "--dataset=speech", "--clips=1", "--test-clips=1", f"--out={sound}"]
    assert main(made) == 0
    line = refused(*_train(tmp_path / "motion", sound))
    assert f"no frame of split train of {sound} shows a face; give a data set" in line, line
    # The split of the evaluation is looked at before the first step, not at the first evaluation.
    other = ("--config.data.eval_split=nobody", "--config.train.best_metric=lip_distance")
    line = refused(*_train(tmp_path / "motion", tiny_prepared, *other))
    assert "no split 'nobody'; use one of" in line, line
    assert not (tmp_path / "motion").exists()


def test_a_mistake_before_the_first_step_leaves_the_directory_to_the_corrected_command(
    tmp_path, refused, tiny_prepared
):
    place = (f"--workdir={tmp_path / 'run'}", f"--config.data.directory={tiny_prepared}")
    line = refused(*_train(tmp_path / "run", tiny_prepared, "--config.train.best_metric=lip"))
    assert "'lip', but iplap/motion measures: jaw_distance, lip_distance, position_l1; use" in line
    small = ("--config.data.batch_size=2", "--config.data.threads=2")
    line = refused("train", "--config=configs/iplap/render.py:base", *place, *small)
    assert "VGG-19" in line, line
    assert not (tmp_path / "run").exists()
    assert main(_train(tmp_path / "run", tiny_prepared, steps=1)) == 0


CONFIGS = [
    ("--config.train.stepz=3", "stepz"),
    ("--config.nothing=3", "nothing"),
    ("--config.task.net.depth=3", "depth"),
    ("--config.train.steps=many", "many"),
    ("--config.optim.lr=fast", "fast"),
    ("--config.optim.name=magic", "optim.name"),
    ("--config.train.steps=0", "train.steps must be at least 1, not 0"),
    ("--config.train.steps=-5", "train.steps must be at least 1, not -5"),
    ("--config.data.batch_size=0", "data.batch_size must be from 1 to 16384"),
    (
        "--config.optim.lr=-1",
        "config.optim.lr must be above 0, not -1.0; give another --config.optim.lr",
    ),
]


@pytest.mark.parametrize("command", ["train", "describe"])
@pytest.mark.parametrize(("override", "words"), CONFIGS)
def test_unknown_field_and_wrong_type(tmp_path, refused, command, override, words):
    place = [f"--workdir={tmp_path / 'motion'}"] if command == "train" else []
    line = refused(command, CONFIG, *place, override)
    assert words in line, line
    assert not (tmp_path / "motion").exists()


FILES = [
    ("return c.to_config_dict(c.pick({'a': 1}, size))", "no size 'tiny'; write one of a"),
    ("return dict(method='iplap')", "sets no stage"),
    ("return {'method': 'iplap', 'stage': 'none'}", "no stage iplap/none; "),
    ("return {**BASE, 'stepz': 3}", "unknown field stepz; remove it"),
    ("return {**BASE, 'seed': 'x'}", "field seed must be"),
    ("return {**BASE, 'task': {'referencez': 3}}", "unknown field referencez; remove it"),
    ("return missing_name", "missing_name"),
    ("return (", "never closed"),
]


@pytest.mark.parametrize(("body", "words"), FILES)
def test_bad_config_file(tmp_path, refused, body, words):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "from talkface_jax import config as c\n"
        "BASE = {'method': 'iplap', 'stage': 'motion', 'task': {}}\n"
        f"def _config(size):\n    {body}\n"
        "def get_config(size=''):\n    found = _config(size)\n"
        "    return ConfigDict(found) if isinstance(found, dict) else found\n"
    )
    workdir = tmp_path / "motion"
    line = refused("train", f"--config={path}:tiny", f"--workdir={workdir}")
    assert words in line and str(path) in line, line
    assert not workdir.exists()


def test_config_file_that_is_missing(refused):
    line = refused("describe", "--config=configs/none.py:tiny")
    assert line == (
        "there is no file configs/none.py; run the command in the checkout, or give its full path"
    )


def test_workdir_of_another_config(data, workdir, kept, refused, contents):
    before = contents(workdir)
    line = refused(*_train(workdir, data, "--config.optim.lr=0.5", "--config.seed=7"))
    assert "belongs to another config" in line and "optim.lr, seed" in line
    assert "; use another --workdir" in line
    assert contents(workdir) == before
    kept()


def test_workdir_that_cannot_be_used(data, tmp_path, workdir, kept, refused, altered):
    (tmp_path / "file").write_text("in the way")
    line = refused(*_train(tmp_path / "file" / "motion", data))
    assert "is a file; choose another" in line
    with altered(workdir / "config.json", lambda data: data[:-30]):
        assert "is not valid JSON" in refused(*_train(workdir, data))
    kept()


RUN = "import sys; from talkface_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"


def _typed(*arguments, script=RUN):
    """The one line of a command in a process of its own: threads that failed live on in it."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr[:3000]
    return done.stderr


def _damage(folder, pattern, edit):
    victims = [path for path in folder.glob(pattern) if path.stat().st_size > 100]
    assert victims
    for path in victims:
        path.write_bytes(edit(path.read_bytes()))


@pytest.mark.parametrize(
    ("pattern", "how"),
    [("state/ocdbt.process_0/d/*", "flipped"), ("state/d/*", "truncated"), ("meta/*", "flipped")],
)
def test_damaged_checkpoint_is_found(data, workdir, flip, pattern, how):
    damaged = workdir / "checkpoints" / "1"
    _damage(damaged, pattern, flip if how == "flipped" else lambda data: data[: len(data) // 2])
    line = _typed(*_train(workdir, data))
    assert f"{damaged} is damaged" in line and "; delete that folder and run again" in line
    # It stays for the user to look at.
    assert [path.name for path in damaged.parent.iterdir()] == ["1"]


def test_export_of_a_damaged_checkpoint(workdir, tmp_path, refused, flip):
    _damage(workdir / "checkpoints" / "1", "meta/metadata", flip)
    (tmp_path / "render").mkdir()
    shutil.copy(_render_config(workdir), tmp_path / "render" / "config.json")
    stages = (f"--motion={workdir}", f"--render={tmp_path / 'render'}")
    line = refused("export", *stages, f"--out={tmp_path / 'bundle'}")
    assert f"{workdir / 'checkpoints' / '1'} is damaged" in line
    assert not (tmp_path / "bundle").exists()


def _render_config(workdir):
    """A config.json of the render stage."""
    from talkface_jax import config
    from talkface_jax.api import load_experiment

    path = workdir.parent / "render_config.json"
    path.write_text(config.dumps(load_experiment("configs/iplap/render.py:tiny", [])))
    return path


def test_export_without_its_folders(trained, tmp_path, refused, contents):
    (tmp_path / "render").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("keep me")
    shutil.copy(_render_config(tmp_path / "x"), tmp_path / "render" / "config.json")
    before, out = contents(tmp_path), f"--out={tmp_path / 'bundle'}"
    motion, render = f"--motion={trained}", f"--render={tmp_path / 'render'}"
    cases = [
        ((f"--motion={tmp_path / 'no'}", render, out), "config.json is missing; point at"),
        ((motion, f"--render={trained}", out), "holds a motion stage; give it as the motion stage"),
        ((motion, render, out), "holds no checkpoint; train there first"),
        ((motion, render, f"--out={tmp_path / 'full' / 'thesis.txt' / 'b'}"), "is a file; choose"),
        ((motion, render, f"--out={tmp_path / 'full'}"), "exists and is not a bundle; choose"),
    ]
    for arguments, words in cases:
        line = refused("export", *arguments)
        assert words in line, line
    assert contents(tmp_path) == before


def _check_full(line, workdir):
    assert "the checkpoint of step 2" in line or "a checkpoint in" in line, line
    assert "; free disk space" in line and f"{workdir / 'checkpoints' / '1'} is intact" in line


def test_full_disk_is_seen_before_a_checkpoint(data, workdir, kept, refused, monkeypatch):
    usage = shutil.disk_usage(workdir)._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage)
    _check_full(refused(*_train(workdir, data)), workdir)
    kept()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "talkface-test", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def full(small_disk, trained):
    """A copy of the working directory on a disk with 128 KiB left, and the file that fills it."""
    workdir = shutil.copytree(trained, small_disk / "motion")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 2**17))
    return workdir, filler


def test_full_disk_at_a_checkpoint(data, full, refused, contents, capfd):
    workdir, filler = full
    before = contents(workdir / "checkpoints")
    _check_full(refused(*_train(workdir, data)), workdir)
    assert contents(workdir / "checkpoints") == before
    # With room again the same command goes on.
    filler.unlink()
    assert main(_train(workdir, data)) == 0
    assert "2 steps done" in capfd.readouterr().out


# As when another program takes the space after the check, while threads are writing.
UNCHECKED = """
import sys
from talkface_jax.cli.main import main
from talkface_jax.train import checkpoint
checkpoint._require_space = lambda directory, needed: None
sys.exit(main(sys.argv[1:]))
"""


def test_disk_that_fills_during_a_checkpoint(data, full, contents):
    workdir, _ = full
    before = contents(workdir / "checkpoints")
    line = _typed(*_train(workdir, data), script=UNCHECKED)
    assert "No space left on device" in line
    _check_full(line, workdir)
    assert contents(workdir / "checkpoints") == before
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["1"]
