"""Worker processes of speech and of the synthetic set: killed, or left by a killed driver."""

import contextlib
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from data_prep.speech import dataset as speech
from data_prep.synthetic import dataset as synthetic
from talkface_jax import processes
from talkface_jax.errors import TalkfaceError

DIED = (
    "a worker process died, most likely for want of memory; run the same command with fewer than "
    "--workers=2"
)
# One worker in the middle of something, and one that waits for more.
POOL = """
import multiprocessing, os, time
from talkface_jax import processes
with processes.pool(2) as pool:
    sleeps = pool.submit(time.sleep, 60)
    pool.submit(os.getpid).result()
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    sleeps.result()
"""
SPEECH = """
import multiprocessing, pathlib, sys
from data_prep.speech import dataset
def report(what, done, total):
    if done == 1:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
dataset.prepare_speech(
    pathlib.Path(sys.argv[1]), clips=600, test_clips=2, workers=2, progress=report
)
"""
# The driver's own clip takes seconds: it is left out.
SYNTHETIC = """
import multiprocessing, pathlib, sys, threading, time
from data_prep.synthetic import dataset
def report():
    while not list(pathlib.Path(sys.argv[1]).glob("truth")):
        time.sleep(0.02)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
make_clip, dataset.make_clip = dataset.make_clip, lambda *_: 25
plans = dataset.plan_clips(clips=9, held_out_clips=1, seed=0)
runs = dataset._run(plans, sys.argv[1], 0, 2)
next(runs)
dataset.make_clip = make_clip
threading.Thread(target=report, daemon=True).start()
list(runs)
"""


def _alive(pid):
    with contextlib.suppress(OSError):
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    return False


def _contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _kill_driver(script, folder):
    """Runs a driver, kills it once it has named its workers, and waits for their end."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        workers = [int(pid) for pid in driver.stdout.readline().split()]
        driver.kill()
        driver.wait()
    assert len(workers) == 2
    try:
        end = time.monotonic() + 5
        while any(map(_alive, workers)):
            assert time.monotonic() < end, "the workers outlive their driver"
            time.sleep(0.05)
    finally:
        for pid in filter(_alive, workers):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def killer():
    """Kills the first worker process that starts."""
    before, stop = multiprocessing.active_children(), threading.Event()

    def kill():
        while not stop.wait(0.02):
            for worker in multiprocessing.active_children():
                if worker not in before:
                    worker.kill()
                    return

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_a_dead_worker_is_one_sentence():
    kept = re.escape(f"{DIED} (that much is kept).")
    with (
        pytest.raises(TalkfaceError, match=rf"^{kept}$"),
        processes.pool(2, kept="that much is kept") as pool,
    ):
        pool.submit(os._exit, 1).result()


def test_workers_end_with_a_killed_driver(tmp_path):
    _kill_driver(POOL, tmp_path)


def test_a_killed_worker_of_speech_is_one_sentence_and_leaves_nothing(tmp_path, killer):
    with pytest.raises(TalkfaceError, match=rf"^{re.escape(DIED)}\.$"):
        speech.prepare_speech(tmp_path, clips=9, workers=2)
    assert not list(tmp_path.iterdir())


def test_a_killed_worker_of_the_synthetic_set_is_one_sentence(tmp_path, monkeypatch, request):
    plans = synthetic.plan_clips(clips=4, held_out_clips=1, seed=0)
    with monkeypatch.context() as patch:  # the first clip is made here
        patch.setattr(synthetic, "make_clip", lambda *_: 25)
        runs = synthetic._run(plans, str(tmp_path), 0, 2)
        assert next(runs) == 25
    request.getfixturevalue("killer")
    with pytest.raises(TalkfaceError, match=re.escape(f"{DIED} (finished clips are kept).")):
        list(runs)


@pytest.mark.slow
def test_a_killed_run_of_speech_begins_anew_with_the_same_bytes(tmp_path):
    speech.prepare_speech(tmp_path / "whole", clips=5, test_clips=2)
    out = tmp_path / "killed"
    _kill_driver(SPEECH, out)
    left = [path.name for path in out.rglob("*.tmp-*")]
    assert left, "the driver was killed before it wrote or after it was done"
    speech.prepare_speech(out, clips=5, test_clips=2, workers=2)
    assert _contents(out) == _contents(tmp_path / "whole")


@pytest.mark.slow
def test_workers_of_the_synthetic_set_end_with_their_driver(tmp_path):
    _kill_driver(SYNTHETIC, tmp_path)
