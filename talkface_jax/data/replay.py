"""Replay faces: a few crops of made-up people in one small file, which what is trained further on
one person sees beside that person, so that it does not forget all others.

The file is safetensors: JPEG files one after the other, where each ends, and what a segment of one
frame needs besides, landmarks in 16 bits. Labels say which emotion each face shows; everybody has
neutral faces, so that views find an identity of the same speaker.
"""

import collections
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from talkface_jax.data.dataset import Dataset
from talkface_jax.emotions import NEUTRAL
from talkface_jax.errors import RecordError, WeightsError
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import SAMPLES_PER_FRAME, ClipInfo, Segment

COUNT = 64
DATASET = "replay"
_FORMAT, _VERSION = "talkface-replay", "1"
_TOLD = "talkface"
_ROUNDS = 4
_LENGTH = struct.Struct("<Q")


def choose(dataset: Dataset, *, count: int = COUNT) -> tuple[Segment, ...]:
    """Single frames of a split, about as many of every speaker.

    Of each speaker first the neutral face that would be the identity and the neutral one with the
    widest mouth, for what must not be forgotten is the inside of the mouth; then, going round the
    clips that show an emotion, faces with mouths from wide to closed.

    Raises:
      RecordError: fewer faces than asked for.
    """
    by_speaker: dict[str, list[int]] = collections.defaultdict(list)
    for record, meta in enumerate(dataset.metas):
        if meta.valid:
            by_speaker[meta.speaker].append(record)
    queues = [_of_speaker(dataset, records) for _, records in sorted(by_speaker.items())]
    chosen: list[Segment] = []
    for turn in range(max(map(len, queues), default=0)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    if len(chosen) < count:
        raise RecordError(
            f"{dataset.title} gives {len(chosen)} replay faces of {count}; give a larger set"
        )
    return tuple(chosen[:count])


def _of_speaker(dataset: Dataset, records: Sequence[int]) -> list[Segment]:
    """Faces of one speaker, those first that are wanted most."""
    found: list[Segment] = []
    shown: list[tuple[Segment, Int[np.ndarray, " k"]]] = []
    neutral: list[tuple[Segment, Int[np.ndarray, " k"]]] = []
    for record in records:
        segment = dataset.segment(record)
        lips, order = _lips(segment)
        if segment.info.emotion == NEUTRAL and not found:
            eyes = measures.eye_opening(segment.landmarks)
            own = identity_frame(lips=lips, eyes=eyes, valid=segment.valid)
            found += [_single(segment, own), _single(segment, int(order[0]))]
        else:
            (neutral if segment.info.emotion == NEUTRAL else shown).append((segment, order))
    for others in (shown, neutral):
        for turn in range(_ROUNDS):
            for k, (segment, order) in enumerate(others):
                share = (turn + k) % _ROUNDS
                found.append(_single(segment, int(order[len(order) * share // _ROUNDS])))
    return found


def _lips(segment: Segment) -> tuple[np.ndarray, Int[np.ndarray, " k"]]:
    """How far the mouth is open, and the valid frames from wide to closed."""
    lips = measures.mouth_opening(segment.landmarks, get_scheme("mesh478"))
    seen = np.flatnonzero(segment.valid)
    return lips, seen[np.argsort(-lips[seen], kind="stable")]


def _single(segment: Segment, frame: int) -> Segment:
    """A segment of one frame of another one."""
    return _segment(
        segment.info,
        segment.frames[frame],
        {
            name: getattr(segment, name)[frame : frame + 1]
            for name in ("landmarks", "head", "blendshapes", "box")
        },
    )


def _segment(info: ClipInfo, image: bytes, arrays: dict[str, Any]) -> Segment:
    silence = np.zeros(0, np.int16)
    return Segment(
        info=info,
        start=0,
        frames=(image,),
        audio=np.zeros(SAMPLES_PER_FRAME, np.int16),
        valid=np.ones(1, bool),
        context=(silence, silence),
        **arrays,
    )


def pack(segments: Sequence[Segment], *, licence: str) -> bytes:
    """The file of segments of one frame each.

    Args:
      segments: as `choose` gives them; names of speakers and clips are not kept.
      licence: terms of the pictures, in one line.
    """
    from safetensors.numpy import save

    speakers = sorted({segment.info.speaker for segment in segments})
    images = [segment.frames[0] for segment in segments]

    def rows(name: str, kind: str) -> np.ndarray:
        return np.concatenate([getattr(segment, name) for segment in segments]).astype(kind)

    arrays = {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "ends": np.cumsum([len(image) for image in images]).astype("<i8"),
        "landmarks": rows("landmarks", "<f2"),
        "blendshapes": rows("blendshapes", "<f2"),
        "head": rows("head", "<f4"),
        "box": rows("box", "<f4"),
        "speaker": np.array([speakers.index(s.info.speaker) for s in segments], "<i2"),
        "emotion": np.array([s.info.emotion for s in segments], "<i2"),
        "level": np.array([s.info.level for s in segments], "<i2"),
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
        return tuple(_unpacked(arrays, k, told["licence"]) for k in range(len(arrays["ends"])))
    except (SafetensorError, ValueError, KeyError, IndexError, struct.error) as error:
        raise WeightsError(
            f"{where} holds no replay faces ({error}); export the bundle again"
        ) from error


def _metadata(data: bytes) -> dict[str, Any]:
    (length,) = _LENGTH.unpack_from(data)
    return json.loads(json.loads(data[_LENGTH.size : _LENGTH.size + length])["__metadata__"][_TOLD])


def _unpacked(arrays: dict[str, np.ndarray], k: int, licence: str) -> Segment:
    first = int(arrays["ends"][k - 1]) if k else 0
    image = arrays["jpeg"][first : int(arrays["ends"][k])].tobytes()
    info = ClipInfo(
        dataset=DATASET,
        clip=f"face{k:02d}",
        speaker=f"person{int(arrays['speaker'][k]):02d}",
        video="",
        emotion=int(arrays["emotion"][k]),
        level=int(arrays["level"][k]),
        licence=licence,
    )
    names = ("landmarks", "head", "blendshapes", "box")
    rows = {name: arrays[name][k : k + 1].astype(np.float32) for name in names}
    return _segment(info, image, rows)
