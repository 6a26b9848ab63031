"""Prepares one clip: decode, track, check, cut, encode, store as a part file with an outcome."""

import contextlib
import dataclasses
import errno
import logging
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from data_prep import crashes, places, quality, segments, tree
from data_prep import job as jobs
from data_prep.job import ClipOutcome, ClipTask, Job
from talkface_jax import extras
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import FaceError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.audio import audio_rate, read_clip_audio
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import open_video
from talkface_jax.records import ClipInfo, Segment, segment_spans

_LOG = logging.getLogger(__name__)
# What is wrong with the machine, whatever the clip.
_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


@dataclasses.dataclass(frozen=True)
class _Made:
    """A part file: bytes of each record, frames, segments left out, what the gates measured."""

    records: tuple[int, ...]
    frames: int
    valid_frames: int
    dropped: int
    quality: quality.Quality


def prepare_clip(job: Job, task: ClipTask, *, tracker: Callable[[], FaceTracker]) -> ClipOutcome:
    """Write the part file and the outcome of a clip, unless finished ones are there.

    What is wrong with the clip itself comes back as the outcome's reason.

    Args:
      job: the preparation.
      task: the clip.
      tracker: gives this process's tracker; not called for a finished clip.

    Raises:
      TalkfaceError: what is wrong with the machine (full disk, missing library), not with the clip.
    """
    done = jobs.read_finished(job, task) or jobs.read_failed(job, task)
    if done is not None:
        return done
    if reason := crashes.reason(job, task):
        outcome = ClipOutcome(task.number, task.info.clip, reason=reason)
        jobs.write_outcome(job, task, outcome)
        return outcome
    with crashes.busy(job, task):
        try:
            outcome = _prepare(job, task, tracker())
        except Exception as error:
            outcome = ClipOutcome(task.number, task.info.clip, reason=_reason(task, error))
        jobs.write_outcome(job, task, outcome)
    return outcome


class _OddError(Exception):
    """What a clip ran into that nobody foresaw, in words that name no temporary file."""


def _reason(task: ClipTask, error: Exception) -> str:
    """What is wrong with a clip.

    Raises:
      TalkfaceError: it is the machine.
    """
    if isinstance(error, (MediaError, FaceError)):
        return str(error)
    if isinstance(error, TalkfaceError):
        raise error
    if _is_machine(error):
        what = error.strerror if isinstance(error, OSError) else str(error) or "out of memory"
        remedy = "free disk space or memory, or use fewer --workers, and run the same command again"
        if isinstance(error, ImportError):
            remedy = f"run `{extras.pip_line('prepare')}` on every machine of the runner"
        raise RecordError(
            f"{task.info.clip} cannot be prepared here ({what}); {remedy}."
        ) from error
    _LOG.error("clip %s failed", task.info.clip, exc_info=error)
    return str(error) if isinstance(error, _OddError) else f"{type(error).__name__}: {error}"


def _is_machine(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _MACHINE
    return isinstance(error, (MemoryError, ImportError))


def _prepare(job: Job, task: ClipTask, tracker: FaceTracker) -> ClipOutcome:
    with _sources(job, task.info) as (video_path, audio_path):
        with open_video(video_path, threads=1) as video:
            if len(video) < segments.MIN_FRAMES:
                raise MediaError(
                    f"{video_path} has {len(video)} frames at 25 fps, fewer than "
                    f"{segments.MIN_FRAMES}; give a longer clip."
                )
            sound = read_clip_audio(video_path, audio_path, len(video))
            track = track_video(video, face=job.face, audio=sound, tracker=tracker)
            rate = audio_rate(audio_path) if audio_path is not None else video.info.audio_rate
            clip = segments.TrackedClip(task.info, video, track, sound, rate)
            if not segments.usable_spans(track.valid):
                raise FaceError(f"{video_path} has no segment with a face; give other footage.")
            made = _store(job, task, clip)
        return ClipOutcome(
            number=task.number,
            clip=task.info.clip,
            frames=made.frames,
            valid_frames=made.valid_frames,
            dropped=made.dropped,
            records=made.records,
            source_sha256=manifest.file_sha256(video_path),
            quality=dataclasses.asdict(made.quality),
        )


@contextlib.contextmanager
def _sources(job: Job, info: ClipInfo) -> Iterator[tuple[pathlib.Path, pathlib.Path | None]]:
    """The clip's video and its separate sound, if any, as files on this machine.

    Reasons name the raw file, never the temporary copy of one that lies in an archive or in a
    remote store.
    """
    with contextlib.ExitStack() as stack:
        copies = []
        for path in (info.video, info.audio):
            if path:
                local = stack.enter_context(tree.local_file(job.raw, path))
                copies.append((local, places.join(job.raw, path)))
        try:
            yield copies[0][0], copies[1][0] if len(copies) > 1 else None
        except Exception as error:
            ours = isinstance(error, (MediaError, FaceError))
            if _is_machine(error) or (isinstance(error, TalkfaceError) and not ours):
                raise
            reason = str(error)
            for local, place in copies:
                reason = reason.replace(str(local), place)
            if ours:
                raise type(error)(reason) from error
            raise _OddError(f"{type(error).__name__}: {reason}") from error


def _store(job: Job, task: ClipTask, clip: segments.TrackedClip) -> _Made:
    """Write the part file, a shard with the records of this clip alone, if it passes the gates.

    The gates look at crops on their way into the file: a clip that fails leaves none.

    Raises:
      MediaError, FaceError: the clip fails a gate.
    """
    crops: dict[int, np.ndarray | None] = {
        int(t): None for t in quality.sample_frames(clip.track.valid)
    }

    def keep(t: int, image: np.ndarray) -> None:
        if t in crops:
            crops[t] = image

    with places.local_folder(job.work) as folder:
        path = folder / task.part
        with store.ShardWriter(path) as writer:
            for segment in segments.cut(clip, on_crop=keep):
                writer.write(_encode(clip, segment), schema.record_meta(segment))
            looked_at = [segments.crop(clip, t) if c is None else c for t, c in crops.items()]
            measured = quality.measure(clip.track, audio=clip.audio, crops=looked_at)
            quality.check(measured, job.gates, name=clip.video.info.path)
        entries = store.read_index(path).entries
    return _Made(
        records=tuple(entry.length + store.FRAMING for entry in entries),
        frames=sum(entry.meta.frames for entry in entries),
        valid_frames=sum(entry.meta.valid for entry in entries),
        dropped=len(segment_spans(len(clip.track))) - len(entries),
        quality=measured,
    )


def _encode(clip: segments.TrackedClip, segment: Segment) -> bytes:
    """A segment that is no record (landmarks that are not finite) is its clip's fault."""
    try:
        return schema.encode(segment)
    except RecordError as error:
        raise MediaError(f"{clip.video.info.path}: {error}") from error
