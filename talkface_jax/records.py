"""Typed records that pass between the stages of the road from raw video to mp4.

Shape letters: b batch, t frames, n landmarks, r references, h w c image, s audio samples.
Everything here is host-side NumPy; inside `jax.jit` the same data are plain dicts of arrays.
Every clip lives on one clock: 25 frames and 16,000 audio samples a second, so 640 samples a frame,
and sample 0 sounds when frame 0 is shown.
"""

import dataclasses
import itertools
import math
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from talkface_jax.emotions import EMOTIONS as EMOTIONS

FPS = 25
AUDIO_RATE = 16_000
SAMPLES_PER_FRAME = AUDIO_RATE // FPS
MESH_POINTS = 478
BLENDSHAPES = 52
RECORD_SIZE = 256
SEGMENT_FRAMES = 125
SOUND_ONLY = "sound"
"""`ClipInfo.view` of clips that show nothing: their pictures are gray and no frame is valid."""


def segment_spans(frames: int) -> list[tuple[int, int]]:
    """Start and end of a clip's segments: as few as fit 125 frames each, as even as can be."""
    count = math.ceil(frames / SEGMENT_FRAMES)
    edges = [frames * i // count for i in range(count + 1)] if count else [0]
    return list(itertools.pairwise(edges))


@dataclasses.dataclass(frozen=True)
class FaceTrack:
    """One face through a video of t frames.

    Attributes:
      landmarks: mesh points in source pixels (x right, y down, z towards the scene, same unit);
        rows of frames without a face hold zeros.
      blendshapes: ARKit scores in [0, 1], mediapipe's order.
      head: rigid head-to-camera transforms (4x4, mediapipe's canonical face in centimetres).
      box: smoothed crop boxes x0, y0, x1, y1 in source pixels (square,
        `landmarks.boxes.record_boxes`).
      valid: False where no face was found; such frames are marked, never dropped.
      size: height and width of the source frames.
    """

    landmarks: Float32[np.ndarray, "t 478 3"]
    blendshapes: Float32[np.ndarray, "t 52"]
    head: Float32[np.ndarray, "t 4 4"]
    box: Float32[np.ndarray, "t 4"]
    valid: Bool[np.ndarray, " t"]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.valid)


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """What a data set's adapter knows of one clip before any pixel is read.

    `emotion` indexes `EMOTIONS` and `level` is 1 to 3; -1 where unknown. `video` and `audio` are
    paths (`audio` empty: the video's own track). `licence` is the data set's terms in one line.
    """

    dataset: str
    clip: str
    speaker: str
    video: str
    audio: str = ""
    split: str = "train"
    text: str = ""
    emotion: int = -1
    level: int = -1
    view: str = "front"
    licence: str = "unknown"


@dataclasses.dataclass(frozen=True)
class Segment:
    """At most 125 consecutive frames of a tracked clip: what one TFRecord example holds.

    Attributes:
      info: the clip it is part of.
      start: index of its first frame in the clip.
      frames: 256x256 JPEG crops, one per frame, cut by `box`.
      audio: mono 16 kHz, exactly 640 samples a frame, sample 0 at frame 0 of the segment.
      landmarks: mesh points in crop coordinates: x and y in [0, 1] over the box, z in the unit of
        x.
      head, blendshapes, box, valid: as in `FaceTrack`.
      context: up to 0.2 s of the clip's audio before `audio` (3,200 samples) and after, so that
        features at the borders are those of the whole clip; shorter at the clip's own ends.
      source_fps, source_rate: what the raw file had before resampling.
    """

    info: ClipInfo
    start: int
    frames: tuple[bytes, ...]
    audio: Int16[np.ndarray, " s"]
    landmarks: Float32[np.ndarray, "t 478 3"]
    head: Float32[np.ndarray, "t 4 4"]
    blendshapes: Float32[np.ndarray, "t 52"]
    box: Float32[np.ndarray, "t 4"]
    valid: Bool[np.ndarray, " t"]
    context: tuple[Int16[np.ndarray, " before"], Int16[np.ndarray, " after"]]
    source_fps: float = 25.0
    source_rate: int = 16_000

    def __len__(self) -> int:
        return len(self.valid)


@dataclasses.dataclass(frozen=True)
class Motion:
    """What a motion network predicts for t frames, in one landmark scheme.

    `landmarks` are normalised to the crop box ([0, 1] over x and y). The optional parts are None
    where the method does not predict them: pose (rotation 3, translation 2, log scale), gaze (yaw,
    pitch in degrees), blink (0 open to 1 closed).
    """

    scheme: str
    landmarks: Float32[np.ndarray, "t n d"]
    pose: Float32[np.ndarray, "t 6"] | None = None
    gaze: Float32[np.ndarray, "t 2"] | None = None
    blink: Float32[np.ndarray, " t"] | None = None


@dataclasses.dataclass(frozen=True)
class Identity:
    """The reference crops of one person, with their landmarks normalised to the crop."""

    images: UInt8[np.ndarray, "r h w 3"]
    landmarks: Float32[np.ndarray, "r n 2"]


Controls = Mapping[str, Any]
"""What a user asks beyond the audio, by the name of the `capabilities.Control` that the method
declares; what is left out is left to the method and to the video."""
NO_CONTROLS: Controls = types.MappingProxyType({})
"""Everything is left to the method and to the video."""
