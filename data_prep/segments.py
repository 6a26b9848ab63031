"""Cuts a tracked clip into the segments that become records."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from talkface_jax.data.schema import CONTEXT_SAMPLES
from talkface_jax.landmarks import boxes
from talkface_jax.media.audio import to_int16
from talkface_jax.media.images import crop_resize, encode_jpeg
from talkface_jax.media.video import IndexedVideo
from talkface_jax.records import (
    RECORD_SIZE,
    SAMPLES_PER_FRAME,
    ClipInfo,
    FaceTrack,
    Segment,
    segment_spans,
)

MIN_FRAMES = 25


@dataclasses.dataclass(frozen=True)
class TrackedClip:
    """A clip ready to be cut: frames, track and sound on one clock.

    `audio` has 640 samples a frame; `source_rate` is what the raw sound had.
    """

    info: ClipInfo
    video: IndexedVideo
    track: FaceTrack
    audio: Float32[np.ndarray, " s"]
    source_rate: int


def usable_spans(valid: np.ndarray) -> list[tuple[int, int]]:
    """The segments of at least 25 frames in which the face is seen at all."""
    return [
        (a, b)
        for a, b in segment_spans(len(valid))
        if b - a >= MIN_FRAMES and bool(np.any(valid[a:b]))
    ]


def cut(
    clip: TrackedClip, *, on_crop: Callable[[int, np.ndarray], None] | None = None
) -> Iterator[Segment]:
    """The clip's usable segments in order; crops are 256x256 and landmarks relative to them.

    `on_crop` is shown every crop with its frame's index, which saves decoding a frame once more.
    """
    sound = to_int16(clip.audio)
    track = clip.track
    points = boxes.to_box(track.landmarks, track.box)
    points[~track.valid] = 0
    for start, end in usable_spans(track.valid):
        first, last = start * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME
        yield Segment(
            info=clip.info,
            start=start,
            frames=tuple(_encoded(clip, start, end, on_crop)),
            audio=sound[first:last],
            landmarks=points[start:end],
            head=track.head[start:end],
            blendshapes=track.blendshapes[start:end],
            box=track.box[start:end],
            valid=track.valid[start:end],
            context=(
                sound[max(0, first - CONTEXT_SAMPLES) : first],
                sound[last : last + CONTEXT_SAMPLES],
            ),
            source_fps=clip.video.info.fps,
            source_rate=clip.source_rate,
        )


def crop(clip: TrackedClip, t: int) -> UInt8[np.ndarray, "256 256 3"]:
    """The face crop of one frame."""
    return crop_resize(clip.video[t], clip.track.box[t], (RECORD_SIZE, RECORD_SIZE))


def _encoded(
    clip: TrackedClip, start: int, end: int, on_crop: Callable[[int, np.ndarray], None] | None
) -> Iterator[bytes]:
    for t in range(start, end):
        image = crop(clip, t)
        if on_crop is not None:
            on_crop(t, image)
        yield encode_jpeg(image)
