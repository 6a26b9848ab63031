"""Clips that end their process, and what the machine does to a clip that is not to blame."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tarfile
import types

import numpy as np
import pytest

from data_prep import crashes, local_runner, pipeline, worker
from data_prep import job as jobs
from data_prep.gates import Gates
from talkface_jax.errors import MediaError, RecordError, TalkfaceError
from talkface_jax.records import ClipInfo


@pytest.fixture
def job(tmp_path):
    """The job of another process, as a worker knows it."""
    (tmp_path / "out" / ".parts").mkdir(parents=True)
    return jobs.Job(
        dataset="folder",
        raw=str(tmp_path / "raw"),
        out=str(tmp_path / "out"),
        face=None,
        gates=Gates(),
        shards=None,
        max_failures=0,
        options={},
        fingerprint="f",
        keys="k",
        driver=1,
    )


def _task(name, *, number=0):
    info = ClipInfo(
        dataset="folder", clip=name, speaker=name, split="train", video=f"{name}.mp4", licence=""
    )
    return jobs.ClipTask(number, f"key of {name}", info)


BAD, GOOD = _task("bad"), _task("good", number=1)


def _die(job, number, *tasks):
    """This process is busy with the first task, another one with the others; both go."""
    with contextlib.ExitStack() as stack:
        for task in tasks:
            stack.enter_context(crashes.busy(job, task))
        for task in tasks[1:]:
            place = os.path.join(job.work, f"{task.key}.busy.json")
            with open(place, "w") as file:
                json.dump({"pid": -1, "driver": job.driver, "video": task.info.video}, file)
        return crashes.record_death(job, os.getpid(), number)


def test_a_mark_lasts_as_long_as_the_work(job):
    with pytest.raises(ZeroDivisionError), crashes.busy(job, BAD):
        (name,) = os.listdir(job.work)
        raise ZeroDivisionError
    assert name == "key of bad.busy.json"
    assert os.listdir(job.work) == []


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"])
def test_a_crash_is_a_failure_of_its_clip_alone(job, number):
    crash = _die(job, getattr(signal, number), BAD, GOOD)
    assert crash.proven
    assert os.listdir(job.work) == ["key of bad.crashed.json"]
    outcome = worker.prepare_clip(job, BAD, tracker=None)  # reads nothing: there is no such file
    assert outcome.reason == (
        f"{job.raw}/bad.mp4 ended the process that read it ({number}); convert it with "
        "`ffmpeg -i IN OUT.mp4` or leave it out."
    )
    assert jobs.read_failed(job, BAD) == outcome
    assert crashes.reason(job, GOOD) == ""
    crashes.settle(job)  # of the next run, for which the file is still the same
    assert crashes.reason(job, BAD)


def test_want_of_memory_may_be_bad_luck_once(job):
    assert not _die(job, signal.SIGKILL, BAD).proven
    assert crashes.reason(job, BAD) == ""
    assert _die(job, signal.SIGKILL, BAD).proven
    outcome = worker.prepare_clip(job, BAD, tracker=None)
    assert "bad.mp4 was killed more than once, most likely for want of memory" in outcome.reason
    crashes.settle(job)  # the next run, perhaps with fewer workers, tries it again
    assert crashes.reason(job, BAD) == ""


def test_other_signals_and_idle_workers_blame_no_clip(job):
    assert _die(job, signal.SIGTERM, BAD) is None
    assert crashes.record_death(job, os.getpid(), signal.SIGSEGV) is None
    assert os.listdir(job.work) == []


CHILD = """
import faulthandler, json, os, resource, signal, sys
from data_prep import crashes, job as jobs
from talkface_jax.records import ClipInfo
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler.disable()
facts = json.loads(sys.argv[1])
job = jobs.Job(**facts["job"] | {"driver": os.getpid() if facts["alone"] else 1})
task = jobs.ClipTask(0, facts["key"], ClipInfo(**facts["info"]))
with crashes.busy(job, task):
    os.kill(os.getpid(), facts["signal"])
"""


def _end_a_process(job, number, *, alone):
    """A driver (alone) or a worker of one dies, and the next run settles what it left."""
    facts = {
        "job": dataclasses.asdict(dataclasses.replace(job, gates=None)),
        "alone": alone,
        "key": BAD.key,
        "info": dataclasses.asdict(BAD.info),
        "signal": number,
    }
    done = subprocess.run([sys.executable, "-c", CHILD, json.dumps(facts)], capture_output=True)
    assert done.returncode == -number, done.stderr
    assert os.listdir(job.work) == ["key of bad.busy.json"] or alone
    crashes.settle(job)
    assert not any(name.endswith(".busy.json") for name in os.listdir(job.work))


def test_a_driver_that_died_left_word_of_it(job):
    _end_a_process(job, signal.SIGABRT, alone=False)
    assert crashes.reason(job, BAD) == ""  # a worker that nobody watched says nothing
    _end_a_process(job, signal.SIGKILL, alone=True)
    assert crashes.reason(job, BAD) == ""
    _end_a_process(job, signal.SIGSEGV, alone=True)
    assert "ended the process that read it (SIGSEGV)" in crashes.reason(job, BAD)


@pytest.fixture
def options():
    return pipeline.parse_options([])


def _dying(monkeypatch, job, deaths):
    """A runner whose workers die so, one run after the other; then runs end well."""
    runs = []

    def run(_, __, *, workers):
        runs.append(workers)
        if len(runs) <= len(deaths):
            task, number = deaths[len(runs) - 1]
            with crashes.busy(job, task):
                mark = f"{job.work}/{task.key}.busy.json"
                with open(mark) as file:
                    text = file.read()
            with open(mark, "w") as file:  # it died: the mark is still there
                file.write(text)
            raise local_runner.WorkerDied("it died; help it", pid=os.getpid(), signal=number)

    monkeypatch.setattr(local_runner, "run_in_processes", run)
    return runs


def _run(job, options):
    pipeline.run(job, options=options, workers=2, total=2, progress=None)


def test_a_run_goes_on_without_the_clips_that_crash(job, options, monkeypatch):
    runs = _dying(monkeypatch, job, [(BAD, signal.SIGSEGV), (GOOD, signal.SIGABRT)])
    _run(job, options)
    assert runs == [2, 2, 2]
    assert "SIGSEGV" in crashes.reason(job, BAD)
    assert "SIGABRT" in crashes.reason(job, GOOD)


def test_a_run_without_memory_ends_and_names_the_clip(job, options, monkeypatch):
    runs = _dying(monkeypatch, job, [(BAD, signal.SIGKILL)] * 2)
    words = r"^a worker process was killed while it read \S+/raw/bad\.mp4, most likely for want of "
    with pytest.raises(TalkfaceError, match=words + r"memory; run .* fewer than --workers=2 \("):
        _run(job, options)
    _run(job, options)
    assert runs == [2, 2, 2]  # the second time it is the clip
    assert "killed more than once" in crashes.reason(job, BAD)


def test_a_run_gives_up_at_last(job, options, monkeypatch):
    deaths = [(_task(str(i)), signal.SIGSEGV) for i in range(99)]
    runs = _dying(monkeypatch, job, deaths)
    with pytest.raises(
        TalkfaceError, match=r"11 clips ended .* the last \S+/10\.mp4; run the same"
    ):
        _run(job, options)
    assert len(runs) == 11


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("No module named 'mediapipe'"), r"'mediapipe'\); run `pip install .* every"),
        (MemoryError(), r"\(out of memory\); free .* fewer --workers"),
    ],
)
def test_a_machine_that_lacks_something_ends_the_run(job, monkeypatch, error, words):
    def fail(*_):
        raise error

    monkeypatch.setattr(worker, "_prepare", fail)
    with pytest.raises(RecordError, match=f"^good cannot be prepared here .*{words}"):
        worker.prepare_clip(job, GOOD, tracker=lambda: None)
    assert os.listdir(job.work) == []


@pytest.mark.parametrize("error", [ValueError, MediaError])
def test_a_reason_names_no_temporary_file(job, monkeypatch, tmp_path, error):
    (tmp_path / "raw").mkdir()
    (tmp_path / "clip.mp4").write_text("some bytes")
    with tarfile.open(tmp_path / "raw" / "all.tar", "w") as tar:
        tar.add(tmp_path / "clip.mp4", "clip.mp4")

    def fail(path, **_):
        raise error(f"{path} is odd")

    monkeypatch.setattr(worker, "open_video", fail)
    info = dataclasses.replace(GOOD.info, video="all.tar/clip.mp4")
    outcome = worker.prepare_clip(job, jobs.ClipTask(0, "key", info), tracker=lambda: None)
    kind = "ValueError: " if error is ValueError else ""
    assert outcome.reason == f"{kind}{tmp_path}/raw/all.tar/clip.mp4 is odd"


def test_a_segment_that_is_no_record_is_its_clips_fault(make_segment):
    segment = make_segment(seed=1, frames=2)
    broken = dataclasses.replace(segment, landmarks=np.full_like(segment.landmarks, np.nan))
    clip = types.SimpleNamespace(video=types.SimpleNamespace(info=types.SimpleNamespace(path="v")))
    with pytest.raises(MediaError, match=r"^v: segment .* cannot be stored"):
        worker._encode(clip, broken)
    assert worker._encode(clip, segment)
