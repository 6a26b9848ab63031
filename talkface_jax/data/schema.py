"""The record: one `Segment` as one `tf.train.Example`.

Arrays are little-endian bytes in C order (`tf.io.decode_raw` reads them); frames are a list of JPEG
files. The record is method-agnostic: each method's view cuts what it needs out of it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from talkface_jax.data import example, remedy
from talkface_jax.errors import RecordError
from talkface_jax.records import (
    BLENDSHAPES,
    MESH_POINTS,
    SAMPLES_PER_FRAME,
    SEGMENT_FRAMES,
    ClipInfo,
    Segment,
)

SCHEMA_VERSION = 1
CONTEXT_SAMPLES = 3200
"""Most samples that a record keeps of the clip's sound before and after its own: 0.2 s."""
NOT_INDEXED = -2
"""Emotion and level of a record whose index is older than the labels in it; the record has them."""
# Attribute -> type and shape of one frame.
PER_FRAME: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "landmarks": ("<f4", (MESH_POINTS, 3)),
    "head": ("<f4", (4, 4)),
    "blendshapes": ("<f4", (BLENDSHAPES,)),
    "box": ("<f4", (4,)),
    "valid": ("|b1", ()),
}


@dataclasses.dataclass(frozen=True)
class RecordMeta:
    """What the index knows of a record, enough to enumerate windows without reading it.

    `runs` are the stretches of frames with a face: first frame and length, in the segment.
    `emotion` and `level` are the clip's (`records.ClipInfo`); below 0 where unknown.
    """

    clip: str
    speaker: str
    start: int
    frames: int
    runs: tuple[tuple[int, int], ...]
    emotion: int = -1
    level: int = -1

    @property
    def valid(self) -> int:
        """Number of frames with a face."""
        return sum(length for _, length in self.runs)


def record_meta(segment: Segment) -> RecordMeta:
    """The index entry of a segment."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], segment.valid.astype(np.int8), [0]])))
    runs = tuple((int(a), int(b - a)) for a, b in edges.reshape(-1, 2))
    return RecordMeta(
        f"{segment.info.dataset}/{segment.info.clip}",
        segment.info.speaker,
        segment.start,
        len(segment),
        runs,
        segment.info.emotion,
        segment.info.level,
    )


def encode(segment: Segment) -> bytes:
    """Serialises a segment; the same segment gives the same bytes.

    Raises:
      RecordError: the segment contradicts itself (lengths, shapes), with what is wrong.
    """
    problem = _problem(segment)
    if problem:
        raise RecordError(
            f"segment {_name(segment)} cannot be stored: {problem}; prepare the clip again"
        )
    features: dict[str, Any] = {
        "schema": [SCHEMA_VERSION],
        "start": [int(segment.start)],
        "length": [len(segment)],
        "source_fps": [float(segment.source_fps)],
        "source_rate": [int(segment.source_rate)],
        "frames": list(segment.frames),
        "audio": [_raw(segment.audio, "<i2")],
        "context_before": [_raw(segment.context[0], "<i2")],
        "context_after": [_raw(segment.context[1], "<i2")],
    }
    for field in dataclasses.fields(ClipInfo):
        value = getattr(segment.info, field.name)
        features[f"info/{field.name}"] = [value.encode() if isinstance(value, str) else int(value)]
    for name, (kind, _) in PER_FRAME.items():
        features[name] = [_raw(getattr(segment, name), kind)]
    return example.dumps(features)


def decode(data: bytes) -> Segment:
    """The segment of `encode`.

    Raises:
      RecordError: not such a record, another schema version, or arrays that do not fit together.
    """
    features = example.loads(data)
    version = features.get("schema", [None])[0]
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"a record has schema version {version}, this program reads {SCHEMA_VERSION}; "
            f"{remedy.PREPARE_ANEW}"
        )
    try:
        segment = _segment(features)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise RecordError(
            f"a record is incomplete or malformed ({error}); {remedy.PREPARE_ANEW}"
        ) from error
    problem = _problem(segment)
    if problem:
        raise RecordError(
            f"record {_name(segment)} contradicts itself: {problem}; {remedy.PREPARE_ANEW}"
        )
    return segment


def _segment(features: Mapping[str, list[Any]]) -> Segment:
    info = {field.name: features[f"info/{field.name}"][0] for field in dataclasses.fields(ClipInfo)}
    texts: dict[str, Any] = {
        key: value.decode() if isinstance(value, bytes) else value for key, value in info.items()
    }
    length = features["length"][0]
    arrays = {
        name: np.frombuffer(features[name][0], kind).reshape(length, *shape)
        for name, (kind, shape) in PER_FRAME.items()
    }
    return Segment(
        info=ClipInfo(**texts),
        start=features["start"][0],
        frames=tuple(features["frames"]),
        audio=np.frombuffer(features["audio"][0], "<i2"),
        context=(
            np.frombuffer(features["context_before"][0], "<i2"),
            np.frombuffer(features["context_after"][0], "<i2"),
        ),
        source_fps=features["source_fps"][0],
        source_rate=features["source_rate"][0],
        **arrays,
    )


def _problem(segment: Segment) -> str:
    """What is wrong with the segment, or nothing."""
    frames = len(segment)
    if not 0 < frames <= SEGMENT_FRAMES:
        return f"{frames} frames are not between 1 and {SEGMENT_FRAMES}"
    if len(segment.frames) != frames:
        return f"{len(segment.frames)} images for {frames} frames"
    if segment.audio.shape != (frames * SAMPLES_PER_FRAME,):
        return f"audio of shape {segment.audio.shape} for {frames} frames"
    for name, (_, shape) in PER_FRAME.items():
        array = getattr(segment, name)
        if array.shape != (frames, *shape):
            return f"{name} of shape {array.shape} for {frames} frames"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name} is not finite"
    return ""


def _raw(array: np.ndarray, kind: str) -> bytes:
    return np.ascontiguousarray(array, dtype=kind).tobytes()


def _name(segment: Segment) -> str:
    return f"{segment.info.dataset}/{segment.info.clip} at frame {segment.start}"
