"""Clips that end the process which reads them: who was busy with what, and what came of it.

FFmpeg and mediapipe are native code, which a damaged file can crash, and the system kills a process
for want of memory. Beside the work of each clip lies a mark that names it; the mark of a dead
process tells which clip to blame. All of it is local: remote work folders have no marks.
"""

import contextlib
import dataclasses
import faulthandler
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

from data_prep import job as jobs
from data_prep import places
from data_prep.job import ClipTask, Job
from talkface_jax.errors import TalkfaceError

_BUSY, _CRASHED = ".busy.json", ".crashed.json"
# What native code ends by. Other signals come from outside, and tell less of the clip.
_FATAL = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}
)
# How faulthandler calls them.
_NAMES = {
    "Segmentation fault": signal.SIGSEGV,
    "Aborted": signal.SIGABRT,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
}


@dataclasses.dataclass(frozen=True)
class Crash:
    """That a process ended while it read a clip.

    Attributes:
      video: the clip's file.
      signal: what ended the process; SIGKILL where nobody saw it.
      times: how often the clip has come to that.
    """

    video: str
    signal: int
    times: int

    @property
    def proven(self) -> bool:
        """Whether the clip is to blame: it crashed, or was killed twice (one may be bad luck)."""
        return self.signal in _FATAL or self.times >= 2

    @property
    def reason(self) -> str:
        """What to tell the user of a proven one."""
        if self.signal in _FATAL:
            return (
                f"{self.video} ended the process that read it ({signal.Signals(self.signal).name});"
                " convert it with `ffmpeg -i IN OUT.mp4` or leave it out."
            )
        return (
            f"the process that read {self.video} was killed more than once, most likely for want "
            "of memory; use fewer --workers, convert it to smaller frames or leave it out."
        )


@contextlib.contextmanager
def busy(job: Job, task: ClipTask) -> Iterator[None]:
    """Mark a clip as being read while the block runs; only a sudden death leaves the mark.

    Raises:
      RecordError: the work folder cannot be written to.
    """
    if places.is_remote(job.work):
        yield
        return
    place = places.join(job.work, task.key + _BUSY)
    video = places.join(job.raw, task.info.video)
    mark = {"pid": os.getpid(), "driver": job.driver, "video": video}
    places.write_text(place, json.dumps(mark) + "\n")
    try:
        with _last_words(place, alone=os.getpid() == job.driver):
            yield
    finally:
        places.delete(place)


@contextlib.contextmanager
def _last_words(place: str, *, alone: bool) -> Iterator[None]:
    """A process without a driver that watches it says itself, in the mark, that it crashes."""
    if not alone or faulthandler.is_enabled():
        yield
        return
    with open(place, "a", encoding="utf-8") as file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()


def settle(job: Job) -> None:
    """Judge the marks of an earlier run that died; nothing of it may be running still.

    The marks of workers whose driver died count nothing: they ended with it. A clip that failed for
    having been killed gets another chance.

    Raises:
      TalkfaceError: the work folder cannot be read or written to.
    """
    found = set() if places.is_remote(job.work) else set(places.names(job.work))
    for name in sorted(found):
        place, key = places.join(job.work, name), name.partition(".")[0]
        if name.endswith(_BUSY):
            mark, last_words = _read_mark(place)
            if mark.get("pid", -1) == mark.get("driver"):
                said = (number for name, number in _NAMES.items() if name in last_words)
                _count(job, key, mark["video"], next(said, signal.SIGKILL))
            places.delete(place)
        elif name.endswith(_CRASHED) and key + jobs.FAILED in found:
            crash = _read(job, key)
            if crash is not None and crash.signal not in _FATAL:
                places.delete(place)


def record_death(job: Job, pid: int, number: int) -> Crash | None:
    """Blame the clip that a dead worker was busy with; all workers of the run have ended.

    Args:
      job: the preparation.
      pid: of the worker that died first; the others were ended for it, and their clips are
        innocent.
      number: of the signal that ended it.

    Returns:
      What is now on record; None where the worker read no clip, or no signal that tells of one
      ended it.

    Raises:
      TalkfaceError: the work folder cannot be read or written to.
    """
    if places.is_remote(job.work):
        return None
    crash = None
    for name in places.names(job.work):
        if name.endswith(_BUSY):
            place = places.join(job.work, name)
            mark, _ = _read_mark(place)
            if mark.get("pid") == pid and (number in _FATAL or number == signal.SIGKILL):
                crash = _count(job, name.removesuffix(_BUSY), mark["video"], number)
            places.delete(place)
    return crash


def reason(job: Job, task: ClipTask) -> str:
    """Why a clip must not be read again; empty if it may."""
    crash = None if places.is_remote(job.work) else _read(job, task.key)
    return crash.reason if crash is not None and crash.proven else ""


def _read_mark(place: str) -> tuple[dict[str, Any], str]:
    """A mark, and what its process wrote there when it crashed."""
    first, _, rest = places.read_text(place).partition("\n")
    try:
        return dict(json.loads(first)), rest.partition("\n")[0]
    except (ValueError, TypeError):
        return {}, ""


def _count(job: Job, key: str, video: str, number: int) -> Crash:
    before = _read(job, key)
    crash = Crash(video, int(number), 1 + (before.times if before is not None else 0))
    text = json.dumps(dataclasses.asdict(crash))
    places.write_text(places.join(job.work, key + _CRASHED), text)
    return crash


def _read(job: Job, key: str) -> Crash | None:
    place = places.join(job.work, key + _CRASHED)
    try:
        return Crash(**json.loads(places.read_text(place))) if places.exists(place) else None
    except (TalkfaceError, ValueError, TypeError):
        return None
