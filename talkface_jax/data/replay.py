"""Replay faces: a few crops of made-up people in one small file, which what is trained further on
one person sees beside that person, so that it does not forget all others.

They are segments of two frames of one clip, so that views find the identity of a face in the same
clip, with the same light; and everybody has a neutral clip, for views that look for one. The file
is safetensors: JPEG files one after the other, where each ends, and what a segment needs besides,
landmarks in 16 bits. Labels say which emotion each face shows.
"""

import collections
import itertools
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.data.dataset import Dataset
from talkface_jax.emotions import NEUTRAL
from talkface_jax.errors import RecordError, WeightsError
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import SAMPLES_PER_FRAME, ClipInfo, Segment

COUNT = 64
"""Faces of the packaged file."""
PAIR = 2
DATASET = "replay"
_FORMAT, _VERSION = "talkface-replay", "1"
_TOLD = "talkface"
_ROUNDS = 4
_ROWS = {"landmarks": "<f2", "blendshapes": "<f2", "head": "<f4", "box": "<f4"}
"""What is kept of each frame besides its picture, and its type in the file."""
_LENGTH = struct.Struct("<Q")
_DAMAGE = ValueError, LookupError, TypeError, AttributeError, struct.error
"""What reading a file of something else may end with."""


def choose(dataset: Dataset, *, count: int = COUNT) -> tuple[Segment, ...]:
    """Pairs of frames of a split, about as many of every speaker.

    Of each speaker first a neutral clip, then those of the rarest emotion so far. Of a clip the
    frame that would be the identity, and one with the mouth wide open or, in further turns, less,
    for what must not be forgotten is the inside of the mouth.

    Args:
      dataset: a split with labels.
      count: faces, two of each segment.

    Raises:
      RecordError: fewer faces than asked for.
    """
    by_speaker: dict[str, list[int]] = collections.defaultdict(list)
    for record, meta in enumerate(dataset.metas):
        if meta.valid >= PAIR:
            by_speaker[meta.speaker].append(record)
    queues = [_of_speaker(dataset, records) for _, records in sorted(by_speaker.items())]
    chosen: list[Segment] = []
    counts: collections.Counter[int] = collections.Counter()
    while any(queues) and PAIR * len(chosen) < count:
        for queue in filter(None, queues):
            # In the first turn the neutral clips, which stand first; then what is rare.
            rare = range(len(queue)) if counts.total() >= len(queues) else range(1)
            at = min(rare, key=lambda k: counts[queue[k].info.emotion])
            counts[queue[at].info.emotion] += 1
            chosen.append(queue.pop(at))
    if PAIR * len(chosen) < count:
        raise RecordError(
            f"{dataset.title} gives {PAIR * len(chosen)} replay faces of {count}; give a larger set"
        )
    return tuple(chosen[: count // PAIR])


def _of_speaker(dataset: Dataset, records: Sequence[int]) -> list[Segment]:
    """Pairs of one speaker, those first that are wanted most."""
    segments = [dataset.segment(record) for record in records]
    neutral = [segment for segment in segments if segment.info.emotion == NEUTRAL]
    shown = [segment for segment in segments if segment.info.emotion != NEUTRAL]
    found = [_pair(segment, 0) for segment in neutral[:1]]
    for others in (shown, neutral[1:]):
        for turn in range(_ROUNDS):
            found += [_pair(segment, (turn + k) % _ROUNDS) for k, segment in enumerate(others)]
    return found


def _pair(segment: Segment, turn: int) -> Segment:
    """The identity's frame of a clip and another one: with the widest mouth in turn 0."""
    lips = measures.mouth_opening(segment.landmarks, get_scheme("mesh478"))
    eyes = measures.eye_opening(segment.landmarks)
    own = identity_frame(lips=lips, eyes=eyes, valid=segment.valid)
    seen = np.flatnonzero(segment.valid & (np.arange(len(segment)) != own))
    order = seen[np.argsort(-lips[seen], kind="stable")]
    frames = [own, int(order[len(order) * turn // _ROUNDS])]
    rows = {name: getattr(segment, name)[frames] for name in _ROWS}
    return _segment(segment.info, [segment.frames[frame] for frame in frames], rows)


def _segment(info: ClipInfo, images: Sequence[bytes], rows: Mapping[str, Any]) -> Segment:
    silence = np.zeros(0, np.int16)
    return Segment(
        info=info,
        start=0,
        frames=tuple(images),
        audio=np.zeros(len(images) * SAMPLES_PER_FRAME, np.int16),
        valid=np.ones(len(images), bool),
        context=(silence, silence),
        **rows,
    )


def pack(segments: Sequence[Segment], *, licence: str) -> bytes:
    """The file of such segments.

    Args:
      segments: as `choose` gives them; names of speakers and clips are not kept.
      licence: terms of the pictures, in one line.
    """
    from safetensors.numpy import save

    speakers = sorted({segment.info.speaker for segment in segments})
    images = [image for segment in segments for image in segment.frames]
    numbers = {
        "length": [len(segment) for segment in segments],
        "speaker": [speakers.index(segment.info.speaker) for segment in segments],
        "emotion": [segment.info.emotion for segment in segments],
        "level": [segment.info.level for segment in segments],
    }
    arrays = {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "ends": np.cumsum([len(image) for image in images]).astype("<i8"),
        **{name: np.array(values, "<i2") for name, values in numbers.items()},
        **{
            name: np.concatenate([getattr(segment, name) for segment in segments]).astype(kind)
            for name, kind in _ROWS.items()
        },
    }
    told = {"format": _FORMAT, "version": _VERSION, "licence": licence}
    # Several entries would come in any order.
    return save(arrays, {_TOLD: json.dumps(told, sort_keys=True)})


def unpack(data: bytes, *, where: str) -> tuple[Segment, ...]:
    """The segments of `pack`; `where` names the file in messages.

    Raises:
      WeightsError: it is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        told = _metadata(data)
        if (told.get("format"), told.get("version")) != (_FORMAT, _VERSION):
            raise ValueError("another format or version")
        arrays = load(data)
        return tuple(_unpacked(arrays, told["licence"]))
    except (SafetensorError, *_DAMAGE) as error:
        raise WeightsError(
            f"{where} holds no replay faces ({error}); export the bundle again"
        ) from error


def _metadata(data: bytes) -> dict[str, Any]:
    (length,) = _LENGTH.unpack_from(data)
    return json.loads(json.loads(data[_LENGTH.size : _LENGTH.size + length])["__metadata__"][_TOLD])


def _unpacked(arrays: Mapping[str, np.ndarray], licence: str) -> Iterator[Segment]:
    edges = [0, *arrays["ends"].tolist()]
    images = [arrays["jpeg"][first:last].tobytes() for first, last in itertools.pairwise(edges)]
    ends = np.cumsum(arrays["length"]).tolist()
    for k, (first, last) in enumerate(itertools.pairwise([0, *ends])):
        info = ClipInfo(
            dataset=DATASET,
            clip=f"face{k:02d}",
            speaker=f"person{int(arrays['speaker'][k]):02d}",
            video="",
            emotion=int(arrays["emotion"][k]),
            level=int(arrays["level"][k]),
            licence=licence,
        )
        rows = {name: arrays[name][first:last].astype(np.float32) for name in _ROWS}
        yield _segment(info, images[first:last], rows)
