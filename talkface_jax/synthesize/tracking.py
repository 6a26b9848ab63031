"""The face in a video or picture, tracked once for all that it is made to say."""

import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from talkface_jax.errors import FaceError
from talkface_jax.media import audio as sound
from talkface_jax.media import faces, tracker, video
from talkface_jax.recent import Recent
from talkface_jax.records import FaceTrack
from talkface_jax.synthesize import timeline

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


KEPT = 4
"""Of the last face videos: one face is made to speak many sentences."""
_RECENT: Recent[FaceTrack] = Recent(KEPT)


def track_face(
    source: video.IndexedVideo,
    path: pathlib.Path,
    choice: str | None,
    *,
    length: int,
    progress: Progress | None,
    flag: str = "--face-choice",
) -> FaceTrack:
    """The face in the first `length` frames of a video; that of the last files is kept.

    Args:
      source: the video.
      path: of its file.
      choice: which of several faces.
      length: frames.
      progress: called as progress(what, done, total).
      flag: of the command, by which to choose among several.

    Raises:
      FaceError: no face, several without a choice, or a choice that does not exist.
    """
    about = path.stat()
    key = (path.resolve(), about.st_mtime_ns, about.st_size, choice, min(len(source), length))
    return _RECENT.get(
        key, lambda: _tracked(source, path, choice, length=length, progress=progress, flag=flag)
    )


def _tracked(
    source: video.IndexedVideo,
    path: pathlib.Path,
    choice: str | None,
    *,
    length: int,
    progress: Progress | None,
    flag: str,
) -> FaceTrack:
    voice: Float32[np.ndarray, " s"] | None = None
    if choice == "speaker" and source.info.has_audio:
        voice = sound.read_clip_audio(path, None, min(len(source), length))
    frames = source if len(source) <= length else timeline.Prefix(source, length)
    try:
        return tracker.track_video(frames, face=choice, audio=voice, progress=progress)
    except FaceError as error:
        # The tracker knows neither this command's flag nor the name of a video that is cut.
        words = str(faces.by_flag(error, flag))
        raise FaceError(words.replace("the video", str(path), 1)) from error
