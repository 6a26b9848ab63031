"""What must be true of one stored record, beyond that it can be decoded.

`data.verify` asks this of every record of a prepared directory; all faults of a record are found,
not only the first.
"""

import dataclasses
import enum
from collections.abc import Iterator

import google_crc32c
import numpy as np

from talkface_jax.data import example, schema
from talkface_jax.data.schema import CONTEXT_SAMPLES, RecordMeta
from talkface_jax.errors import MediaError, RecordError
from talkface_jax.media.images import decode_jpeg
from talkface_jax.records import (
    EMOTIONS,
    FPS,
    RECORD_SIZE,
    SAMPLES_PER_FRAME,
    SOUND_ONLY,
    ClipInfo,
    Segment,
)

_LEVELS = (-1, 1, 2, 3)
# Record boxes have a margin of 0.6 and follow a head smoothly; a quick turn may leave them for a
# few frames.
_INSIDE_SHARE = 0.9
_FARTHEST = 4.0
_SMALLEST_FACE = 0.05
_SQUARE = 1e-3
_SMALLEST_BOX, _LARGEST_BOX = 4.0, 65_536.0
_RIGID = 1e-3
_SCORE_SLACK = 1e-4
_FASTEST, _HIGHEST_RATE = 1000.0, 768_000
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class Images(enum.Enum):
    """Which crops are decoded; the others are only looked at from outside."""

    ALL = "all"
    SOME = "some"
    """One a second."""
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its kind (a word, by which faults are counted) and a phrase."""

    kind: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Edge:
    """A stretch of at most 0.2 s of sound: how many samples and their CRC-32C."""

    samples: int
    crc: int


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the other records of a clip, and the statistics, need of a record.

    `before` and `after` are its context, `head` and `tail` the first and last 0.2 s of its own
    sound; `parts` are stored bytes by feature, features of the clip together as "info".
    """

    info: ClipInfo
    start: int
    frames: int
    valid: int
    source_fps: float
    source_rate: int
    before: Edge
    after: Edge
    head: Edge
    tail: Edge
    parts: dict[str, int]

    @property
    def clip(self) -> str:
        """Name of the clip, as in the index."""
        return f"{self.info.dataset}/{self.info.clip}"


@dataclasses.dataclass(frozen=True)
class RecordReport:
    """The faults of a record, and its facts where it could be decoded."""

    faults: tuple[Fault, ...]
    facts: Facts | None


def inspect_record(
    data: bytes, *, dataset: str, split: str, meta: RecordMeta | None, images: Images
) -> RecordReport:
    """Everything that is wrong with one record.

    Args:
      data: its bytes, already known to have the right checksum.
      dataset, split: of the manifest and of the shard that holds it.
      meta: what the index says of it; None where there is no index.
      images: which crops to decode.
    """
    try:
        segment = schema.decode(data)
    except RecordError as error:
        return RecordReport((Fault("schema", str(error)),), None)
    faults = list(_faults(segment, images))
    if (segment.info.dataset, segment.info.split) != (dataset, split):
        where = f"{segment.info.dataset}, split {segment.info.split}"
        faults.append(Fault("info", f"it is of {where}, its shard of {dataset}, split {split}"))
    found = schema.record_meta(segment)
    if meta is not None and meta.emotion == schema.NOT_INDEXED:
        found = dataclasses.replace(found, emotion=meta.emotion, level=meta.level)
    if meta is not None and meta != found:
        faults.append(Fault("index", f"the index says {meta}, not {found}"))
    return RecordReport(tuple(faults), _facts(segment, data))


def _faults(segment: Segment, images: Images) -> Iterator[Fault]:
    yield from _info_faults(segment)
    yield from _audio_faults(segment)
    yield from _image_faults(segment, images)
    yield from _box_faults(segment)
    valid = segment.valid
    if np.any(segment.landmarks[~valid]):
        yield Fault("landmarks", "a frame without a face has points that are not zero")
    if not np.any(valid):
        if segment.info.view != SOUND_ONLY:
            yield Fault("landmarks", "no frame has a face")
        return
    yield from _landmark_faults(segment.landmarks[valid])
    scores = segment.blendshapes
    if scores.min() < -_SCORE_SLACK or scores.max() > 1 + _SCORE_SLACK:
        low, high = float(scores.min()), float(scores.max())
        yield Fault("blendshapes", f"scores from {low:.3g} to {high:.3g} leave [0, 1]")
    yield from _head_faults(segment.head[valid])


def _info_faults(segment: Segment) -> Iterator[Fault]:
    info = segment.info
    for name in ("dataset", "clip", "speaker", "video", "split", "licence"):
        if not getattr(info, name):
            yield Fault("info", f"{name} is empty")
    if not -1 <= info.emotion < len(EMOTIONS):
        yield Fault("info", f"emotion {info.emotion} is not from -1 to {len(EMOTIONS) - 1}")
    if info.level not in _LEVELS:
        yield Fault("info", f"level {info.level} is not 1, 2, 3 or -1 (unknown)")
    if segment.start < 0:
        yield Fault("info", f"it begins at frame {segment.start}")
    if not 0 < segment.source_fps <= _FASTEST:
        yield Fault("info", f"{segment.source_fps:g} frames a second of the raw video")
    if not 0 <= segment.source_rate <= _HIGHEST_RATE:
        yield Fault("info", f"{segment.source_rate} samples a second of the raw sound")


def _audio_faults(segment: Segment) -> Iterator[Fault]:
    """Its own length is part of the schema."""
    before, after = map(len, segment.context)
    due = min(CONTEXT_SAMPLES, segment.start * SAMPLES_PER_FRAME)
    if before != due:
        yield Fault("audio", f"{before} samples of sound before it, not {due}")
    if after > CONTEXT_SAMPLES:
        yield Fault("audio", f"{after} samples of sound after it, over {CONTEXT_SAMPLES}")


def _image_faults(segment: Segment, images: Images) -> Iterator[Fault]:
    for t, data in enumerate(segment.frames):
        name = f"crop {t} ({len(data)} bytes)"
        if not data.startswith(_JPEG_START) or not data.endswith(_JPEG_END):
            yield Fault("image", f"{name} is no whole JPEG")
        elif images is Images.ALL or (images is Images.SOME and t % FPS == 0):
            try:
                shape = decode_jpeg(data).shape
            except MediaError:
                yield Fault("image", f"{name} cannot be decoded")
                continue
            if shape != (RECORD_SIZE, RECORD_SIZE, 3):
                height, width = shape[:2]
                yield Fault("image", f"{name} is {width}x{height}, not {RECORD_SIZE}x{RECORD_SIZE}")


def _box_faults(segment: Segment) -> Iterator[Fault]:
    sides = segment.box[:, 2:].astype(np.float64) - segment.box[:, :2]
    small, large = float(sides.min()), float(sides.max())
    if small < _SMALLEST_BOX or large > _LARGEST_BOX:
        yield Fault("box", f"a side of {small if small < _SMALLEST_BOX else large:.4g} pixels")
        return
    uneven = np.abs(sides[:, 0] - sides[:, 1]) / sides.max(-1)
    if uneven.max() > _SQUARE:
        width, height = sides[int(uneven.argmax())]
        yield Fault("box", f"{width:.5g} by {height:.5g} pixels is not square")


def _landmark_faults(points: np.ndarray) -> Iterator[Fault]:
    """Of the frames with a face."""
    flat = points[..., :2]
    inside = float(np.mean(np.all((flat >= 0) & (flat <= 1), -1)))
    if inside < _INSIDE_SHARE:
        yield Fault("landmarks", f"only {inside:.0%} of the points lie within the crop")
    if (far := float(np.abs(points).max())) > _FARTHEST:
        yield Fault("landmarks", f"a coordinate of {far:.3g} (the crop reaches from 0 to 1)")
    extent = float(np.ptp(flat, axis=1).max(-1).min())
    if extent < _SMALLEST_FACE:
        yield Fault("landmarks", f"a face that covers {extent:.1%} of its crop")


def _head_faults(heads: np.ndarray) -> Iterator[Fault]:
    """Of the frames with a face."""
    turn = heads[:, :3, :3].astype(np.float64)
    bent = float(np.abs(turn @ np.swapaxes(turn, 1, 2) - np.eye(3)).max())
    if bent > _RIGID:
        yield Fault("head", f"a rotation that stretches or shears by {bent:.2g}")
    elif np.linalg.det(turn).min() < 0:
        yield Fault("head", "a rotation that mirrors")
    if np.any(heads[:, 3] != (0, 0, 0, 1)):
        yield Fault("head", "a last row other than 0, 0, 0, 1")


def _facts(segment: Segment, data: bytes) -> Facts:
    parts: dict[str, int] = {}
    for name, values in example.loads(data).items():
        part = name.split("/")[0]
        size = sum(len(value) if isinstance(value, bytes) else 8 for value in values)
        parts[part] = parts.get(part, 0) + size
    return Facts(
        info=segment.info,
        start=segment.start,
        frames=len(segment),
        valid=int(np.sum(segment.valid)),
        source_fps=float(segment.source_fps),
        source_rate=int(segment.source_rate),
        before=_edge(segment.context[0]),
        after=_edge(segment.context[1]),
        head=_edge(segment.audio[:CONTEXT_SAMPLES]),
        tail=_edge(segment.audio[-CONTEXT_SAMPLES:]),
        parts=parts,
    )


def _edge(samples: np.ndarray) -> Edge:
    return Edge(len(samples), google_crc32c.value(np.ascontiguousarray(samples).tobytes()))
