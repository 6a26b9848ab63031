"""Prepares one clip in a process of a pool: decode, track, cut, encode, store as a part file."""

import dataclasses
import functools
import hashlib
import json
import logging
import multiprocessing.util
import pathlib

from data_prep import segments
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import FaceError, MediaError, TalkfaceError
from talkface_jax.media.audio import audio_rate, read_clip_audio
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import open_video
from talkface_jax.records import ClipInfo

_LOG = logging.getLogger(__name__)
# Part of every part file's key: raise it when the same input gives other records.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class ClipTask:
    """One clip to prepare: `raw` is the data set's root, `parts` the folder of part files."""

    info: ClipInfo
    raw: str
    parts: str
    face: str | None

    @property
    def video(self) -> pathlib.Path:
        """The video file."""
        return pathlib.Path(self.raw, self.info.video)

    @property
    def audio(self) -> pathlib.Path | None:
        """The separate sound file, if any."""
        return pathlib.Path(self.raw, self.info.audio) if self.info.audio else None

    @functools.cached_property
    def key(self) -> str:
        """Names the part file: changes with the clip's files (size, time) and with every option."""
        files = [_stat(path) for path in (self.video, self.audio) if path is not None]
        facts = [_VERSION, schema.SCHEMA_VERSION, dataclasses.asdict(self.info), self.face, files]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def part(self) -> pathlib.Path:
        """The part file: a shard with the records of this clip alone."""
        return pathlib.Path(self.parts, f"{self.key}.tfrecord")


@dataclasses.dataclass(frozen=True)
class ClipOutcome:
    """What became of a clip.

    Attributes:
      reason: why it failed; empty on success.
      frames, valid_frames: stored.
      dropped: segments left out: shorter than 25 frames, or without a face.
      source_sha256: of the video file.
    """

    clip: str
    reason: str = ""
    frames: int = 0
    valid_frames: int = 0
    dropped: int = 0
    source_sha256: str = ""


def run(task: ClipTask) -> ClipOutcome:
    """`prepare_clip` with this process's own tracker, made at the first clip and closed at exit."""
    return prepare_clip(task, tracker=_process_tracker())


def prepare_clip(task: ClipTask, *, tracker: FaceTracker) -> ClipOutcome:
    """Write the part file of a clip, unless a finished one is there.

    What is wrong with the clip itself comes back as the outcome's reason.

    Raises:
      TalkfaceError: what is wrong with the machine (full disk, missing library), not with the clip.
    """
    name = task.info.clip
    try:
        done = _finished(task)
        return done if done is not None else _prepare(task, tracker)
    except (MediaError, FaceError) as error:
        return ClipOutcome(name, reason=str(error))
    except TalkfaceError:
        raise
    except Exception as error:
        _LOG.exception("clip %s failed", name)
        return ClipOutcome(name, reason=f"{type(error).__name__}: {error}")


def _prepare(task: ClipTask, tracker: FaceTracker) -> ClipOutcome:
    if task.audio is not None and not task.audio.is_file():
        raise MediaError(f"{task.audio}: no such file; restore the clip's sound, or leave it out.")
    with open_video(task.video) as video:
        if len(video) < segments.MIN_FRAMES:
            raise MediaError(
                f"{task.video} has {len(video)} frames at 25 fps, fewer than "
                f"{segments.MIN_FRAMES}; give a longer clip."
            )
        sound = read_clip_audio(task.video, task.audio, len(video))
        track = track_video(video, face=task.face, audio=sound, tracker=tracker)
        rate = audio_rate(task.audio) if task.audio is not None else video.info.audio_rate
        clip = segments.TrackedClip(task.info, video, track, sound, rate)
        if not segments.usable_spans(track.valid):
            raise FaceError(f"{task.video} has no segment with a face; give other footage.")
        with store.ShardWriter(task.part) as writer:
            for segment in segments.cut(clip):
                writer.write(schema.encode(segment), schema.record_meta(segment))
    sha256 = manifest.file_sha256(task.video)
    facts = {"dropped": len(segments.spans(len(track))) - len(writer), "source_sha256": sha256}
    _facts_path(task).write_text(json.dumps(facts))
    outcome = _finished(task)
    assert outcome is not None
    return outcome


def _finished(task: ClipTask) -> ClipOutcome | None:
    """The outcome of a clip whose part file is complete; its facts are written last."""
    try:
        facts = json.loads(_facts_path(task).read_text())
        entries = store.read_index(task.part).entries
    except (OSError, ValueError, TalkfaceError):
        return None
    return ClipOutcome(
        clip=task.info.clip,
        frames=sum(entry.meta.frames for entry in entries),
        valid_frames=sum(entry.meta.valid for entry in entries),
        dropped=facts["dropped"],
        source_sha256=facts["source_sha256"],
    )


def _facts_path(task: ClipTask) -> pathlib.Path:
    return task.part.with_suffix(".json")


def _stat(path: pathlib.Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # its absence is reported when the clip's turn comes
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


@functools.cache
def _process_tracker() -> FaceTracker:
    tracker = FaceTracker()
    # Before the process ends its threads, through which mediapipe closes; atexit would come after.
    multiprocessing.util.Finalize(tracker, tracker.close, exitpriority=10)
    return tracker
