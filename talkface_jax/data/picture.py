"""One still picture as a segment, cut as preparation cuts a video's frames."""

import os
import pathlib

import numpy as np
from jaxtyping import UInt8

from talkface_jax.errors import MediaError
from talkface_jax.landmarks import boxes
from talkface_jax.media.faces import check_choice
from talkface_jax.media.images import crop_resize, encode_jpeg
from talkface_jax.media.tracker import track_video
from talkface_jax.media.video import IndexedVideo, StillVideo, open_visual
from talkface_jax.records import (
    RECORD_SIZE,
    SAMPLES_PER_FRAME,
    SEGMENT_FRAMES,
    ClipInfo,
    Segment,
)


def picture_segment(
    picture: str | os.PathLike[str] | UInt8[np.ndarray, "h w 3"],
    *,
    speaker: str = "",
    frames: int = 25,
    face: str | int | None = None,
    licence: str = "unknown",
) -> Segment:
    """The face of a picture, tracked and cropped, and repeated so that windows fit in.

    Args:
      picture: a file (PNG, JPEG, WebP, ...), or RGB pixels.
      speaker: who it shows; unknown if empty.
      frames: length of the segment, 1 to 125; all of them are the same.
      face: "largest" or an index from left to right; None insists on a single face.
      licence: the picture's terms in one line.

    Returns:
      A segment of the data set "picture" whose clip is the file's name, in which every frame is
      valid and all sound is silence.

    Raises:
      FaceError: no face, several without a choice, or a choice that does not exist.
      MediaError: the file is missing or damaged, or a video.
    """
    if not 1 <= frames <= SEGMENT_FRAMES:
        raise ValueError(f"{frames} frames are not between 1 and {SEGMENT_FRAMES}")
    check_choice(face)
    path = "" if isinstance(picture, np.ndarray) else os.fspath(picture)
    with _opened(picture) as video:
        if len(video) != 1:
            raise MediaError(
                f"{path} is a video of {len(video)} frames; give one picture, or prepare the video "
                "with `talkface prepare`"
            )
        track = track_video(video, face=face)
        crop = crop_resize(video[0], track.box[0], (RECORD_SIZE, RECORD_SIZE))

    def repeated(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, frames, axis=0)

    silence = np.zeros(0, np.int16)
    clip = pathlib.PurePath(path).name or "picture"
    return Segment(
        info=ClipInfo("picture", clip, speaker, video=path, licence=licence),
        start=0,
        frames=(encode_jpeg(crop),) * frames,
        audio=np.zeros(frames * SAMPLES_PER_FRAME, np.int16),
        landmarks=repeated(boxes.to_box(track.landmarks, track.box)),
        head=repeated(track.head),
        blendshapes=repeated(track.blendshapes),
        box=repeated(track.box),
        valid=repeated(track.valid),
        context=(silence, silence),
    )


def _opened(picture: str | os.PathLike[str] | np.ndarray) -> IndexedVideo:
    if isinstance(picture, np.ndarray):
        return StillVideo(picture, path="the picture")
    return open_visual(picture)
