"""`talkface prepare` as a process of its own: killed, starved, and run by other runners."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from talkface_jax.errors import TalkfaceError
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import VideoWriter, open_visual

CLIPS = ("a b", "ü", "three", "four", "five", "six")


@pytest.fixture(scope="module")
def raw(tmp_path_factory, data_dir):
    """Six clips of one second; the last two are the test split."""
    root = tmp_path_factory.mktemp("raw")
    with open_visual(data_dir / "astronaut.jpg") as image:
        portrait = np.ascontiguousarray(image[0][:256, 96:352])
    speech = read_clip_audio(data_dir / "obama_speech.mp4", None, 60)[16_000:]
    for name in CLIPS:
        with VideoWriter(root / f"{name}.mp4", size=(256, 256), audio=speech) as writer:
            for _ in range(25):
                writer.write(portrait)
    (root / "metadata.csv").write_text("path,split\nfive.mp4,test\nsix.mp4,test\n")
    return root


def _command(raw, out, *more):
    return [
        *(sys.executable, "-m", "talkface_jax.cli.main", "prepare", "--dataset=folder"),
        *(f"--raw={raw}", f"--out={out}", "--shards=2", *more),
    ]


def _start(command, **options):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def _workers(driver):
    """Process ids of the driver's worker processes."""
    children = pathlib.Path(f"/proc/{driver}/task/{driver}/children")
    found = []
    for pid in map(int, children.read_text().split()):
        with contextlib.suppress(OSError):  # it may have gone
            if b"data_prep.beam_worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _alive(pid):
    with contextlib.suppress(OSError):
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    return False


def _wait_until(condition, *, seconds):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def _one_sentence(process):
    """The last line that a failed run printed, all else being the progress bar."""
    printed = process.communicate(timeout=60)
    lines = [line for line in printed[1].splitlines() if line.strip() and "━" not in line]
    assert (process.returncode, len(lines), printed[0]) == (1, 1, ""), printed
    return lines[0]


def test_killed_run_continues_to_the_same_bytes(raw, tmp_path, contents):
    """One process in one go, against two that are killed together with their driver."""
    from data_prep import prepare

    prepare.prepare("folder", raw=raw, out=tmp_path / "whole", shards=2)
    out = tmp_path / "killed"
    work = out / ".parts"
    driver = _start(_command(raw, out, "--workers=2"), start_new_session=True)
    _wait_until(lambda: len(list(work.glob("*.done.json"))) >= 1, seconds=120)
    # All at once: workers that outlive their driver by a second could finish every clip.
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    assert not (out / "manifest.json").exists()
    finished = sorted(path.name.partition(".")[0] for path in work.glob("*.done.json"))
    assert 1 <= len(finished) < len(CLIPS)
    rows = map(json.loads, (work / "tasks.jsonl").read_text().splitlines())
    videos = [raw / row["info"]["video"] for row in rows if row["key"] in finished]
    assert len(videos) == len(finished)
    before = {path: path.read_bytes() for path in videos}
    _replace({path: bytes(len(data)) for path, data in before.items()})
    try:  # a finished clip made again would fail: its video has the same size and time, but no data
        again = _start(_command(raw, out, "--workers=2"))
        printed = again.communicate(timeout=150)
    finally:
        _replace(before)
    assert again.returncode == 0, printed
    assert "6 clips (test 2, train 3, val 1) in 6 segments" in printed[0]
    assert contents(out) == contents(tmp_path / "whole")


def _replace(contents):
    """Other bytes for files whose times stay."""
    for path, data in contents.items():
        status = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.slow
def test_workers_end_with_their_driver(raw, tmp_path):
    driver = _start(_command(raw, tmp_path, "--workers=2"))
    workers = _wait_until(lambda: _workers(driver.pid)[1:] and _workers(driver.pid), seconds=120)
    driver.kill()
    driver.communicate()
    _wait_until(lambda: not any(map(_alive, workers)), seconds=5)


@pytest.mark.slow
def test_killed_worker_ends_the_run_in_seconds(raw, tmp_path):
    driver = _start(_command(raw, tmp_path, "--workers=2"))
    workers = _wait_until(lambda: _workers(driver.pid)[1:] and _workers(driver.pid), seconds=120)
    _wait_until(lambda: list((tmp_path / ".parts").glob("*.done.json")), seconds=120)
    os.kill(workers[1], signal.SIGKILL)
    start = time.monotonic()
    line = _one_sentence(driver)
    assert time.monotonic() - start < 10
    assert re.fullmatch(
        r"talkface prepare: a worker process was killed( while it read \S+/raw0/.+\.mp4)?, most "
        r"likely for want of memory; run the same command with fewer than --workers=2 \(finished "
        r"clips are kept\)",
        line,
    ), line
    assert not any(map(_alive, workers))
    assert list((tmp_path / ".parts").glob("*.done.json"))
    assert not (tmp_path / "manifest.json").exists()


CRASH = """
import os, resource, sys

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def crash(event, arguments):
    if event == "open" and str(arguments[0]).endswith("five.mp4"):
        os.abort()


sys.addaudithook(crash)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_clip_that_crashes_its_process_is_a_row(raw, tmp_path, workers):
    """With workers in the same run; alone, in the next one."""
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = _command(raw, tmp_path / "out", f"--workers={workers}", "--max-failures=1")
    for attempt in range(2 // workers):
        driver = _start(command, env={**os.environ, "PYTHONPATH": path})
        printed = driver.communicate(timeout=150)
        assert driver.returncode == (0 if attempt == 2 // workers - 1 else -signal.SIGABRT), printed
    assert "5 clips (test 1, train 4)" in printed[0]
    (row,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert row["clip"] == "five"
    assert "five.mp4 ended the process that read it (SIGABRT); convert it" in row["reason"]
    assert not (tmp_path / "out" / ".parts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_run_stops_quietly(raw, tmp_path, workers):
    driver = _start(_command(raw, tmp_path, f"--workers={workers}"), start_new_session=True)
    _wait_until(lambda: list((tmp_path / ".parts").glob("*.done.json")), seconds=120)
    os.killpg(driver.pid, signal.SIGINT)
    start = time.monotonic()
    printed = driver.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert driver.returncode == 130
    lines = [line for line in printed[1].splitlines() if line.strip() and "━" not in line]
    assert lines == ["talkface prepare: stopped"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk_is_one_sentence(raw, tmp_path, workers):
    """A limit on the size of files stands for it: the first part file does not fit."""
    command = _command(raw, tmp_path, f"--workers={workers}")
    limited = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *command]  # blocks of 512 bytes
    line = _one_sentence(_start(limited))
    assert re.fullmatch(
        r"talkface prepare: \S+\.tfrecord cannot be written \(File too large\); free disk space or "
        "give another folder",
        line,
    ), line
    assert not (tmp_path / "manifest.json").exists()
    assert not (tmp_path / "failures.jsonl").exists()


@pytest.mark.slow
def test_another_runner_gives_the_same_bytes(raw, tmp_path, contents):
    """Beam's portable runner over its job service, as Flink and Spark are reached."""
    from data_prep import prepare

    prepare.prepare("folder", raw=raw, out=tmp_path / "here", shards=2)
    portable = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
    done = subprocess.run(
        _command(raw, tmp_path / "there", *portable), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


USAGE = [
    ("--max-failure=3", "unknown --max-failure=3"),
    ("--max-failures=200%", "must be a count or from 0% to 100%, not 200%"),
    ("--runner=Nope", "--runner=Nope cannot be used"),
    ("--direct_num_workers=4", "--direct_num_workers is not for this command; use --workers=N"),
    ("--direct_running_mode=multi_processing", "use --workers=N"),
    ("--num_workers=few", "argument --num_workers: invalid int value: 'few'"),
    ("--split=random", "argument --split: invalid choice: 'random'"),
    ("--test-share=0.2", "--test-share needs --split=speaker"),
    ("--test-share=2", "must be a number from 0 to 1, not 2"),
    ("--min-sharpness=much", "argument --min-sharpness: invalid float value: 'much'"),
]


@pytest.mark.parametrize(("flag", "words"), USAGE)
def test_usage(tmp_path, refused, flag, words):
    out = tmp_path / "out"
    assert words in refused("prepare", "--dataset=folder", f"--out={out}", flag, status=2)
    assert not out.exists()


def test_gates_and_places_out_of_range(tmp_path, refused):
    command = ("prepare", "--dataset=folder", f"--out={tmp_path / 'out'}")
    assert "--min-level=5 is no threshold" in refused(
        *command, f"--raw={tmp_path}", "--min-level=5"
    )
    line = refused(*command, "--raw=nowhere://bucket/raw")
    assert "nowhere://bucket/raw: no installed file system" in line
    synthetic = ("prepare", "--dataset=synthetic", "--clips=1", "--out=nowhere://b")
    assert "cannot make its videos in nowhere://b/raw; give a local folder" in refused(*synthetic)
    assert not list(tmp_path.iterdir())


def test_synthetic_without_beam_makes_no_videos_first(tmp_path, refused, monkeypatch):
    def missing():
        raise TalkfaceError("this needs Apache Beam, which cannot be loaded; install it")

    monkeypatch.setattr("data_prep.places.import_beam", missing)
    command = ("prepare", "--dataset=synthetic", "--clips=1", f"--out={tmp_path / 'out'}")
    assert "needs Apache Beam" in refused(*command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dataset", ["synthetic", "speech"])
def test_what_is_made_on_the_spot_needs_its_voice_first(
    tmp_path, refused, monkeypatch, own_metadata, dataset
):
    """Nothing may lie there that another command would take for a data set half made."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "hibari" else real(name)
    )
    command = ("prepare", f"--dataset={dataset}", "--clips=1", f"--out={tmp_path / 'out'}")
    expected = "the package hibari-tts is not installed; pip install 'talkface-jax[demo]'"
    assert refused(*command).endswith(expected)
    assert not list(tmp_path.iterdir())


def test_recordings_are_prepared_without_a_voice(tmp_path, refused, monkeypatch, own_metadata):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "hibari" else real(name)
    )
    command = ("prepare", "--dataset=folder", f"--out={tmp_path / 'out'}")
    assert "--dataset=folder needs the raw videos; give --raw=DIR" in refused(*command)
