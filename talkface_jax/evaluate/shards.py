"""Motion cases from a prepared data set: what a chain predicts for every held-out segment."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32

from talkface_jax.data.pipeline import PreparedDataset
from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import noise, scores
from talkface_jax.evaluate.landmarks import MotionCase
from talkface_jax.evaluate.rows import SHIFT
from talkface_jax.landmarks import blinks, boxes, retarget, schemes
from talkface_jax.records import RECORD_SIZE, SAMPLES_PER_FRAME, FaceTrack, Motion, Segment

Samples = Float32[np.ndarray, " s"]


class MotionChain(Protocol):
    """What is asked of a method's chain."""

    def prepare(self, track: FaceTrack) -> Any:
        """Its `geometry` (`landmarks.boxes.CropGeometry`) and `order`, the landmark references."""
        ...

    def predict_motion(self, track: FaceTrack, *, samples: Samples) -> Motion:
        """Landmarks of every frame, in the crop boxes of `prepare`."""
        ...


def track_of(segment: Segment) -> FaceTrack:
    """The segment's face in source pixels.

    The frame size is not stored; it is bounded by the boxes, and nothing here depends on it.
    """
    landmarks = boxes.from_box(segment.landmarks, segment.box).astype(np.float32)
    right, bottom = segment.box[:, 2:].max(0)
    return FaceTrack(
        landmarks=np.where(segment.valid[:, None, None], landmarks, 0).astype(np.float32),
        blendshapes=segment.blendshapes,
        head=segment.head,
        box=segment.box,
        valid=segment.valid,
        size=(int(np.ceil(bottom)), int(np.ceil(right))),
    )


def rows_of_samples(samples: Samples) -> Mapping[str, Samples]:
    """The recording that each model row hears: itself, 10 frames ahead (cyclic), silence."""
    return {
        scores.MODEL: samples,
        scores.SHIFTED_AUDIO: np.roll(samples, -SHIFT * SAMPLES_PER_FRAME),
        scores.SILENCE: np.zeros_like(samples),
    }


def blink_curves(dataset: PreparedDataset, *, limit: int = 2000) -> list[Float32[np.ndarray, " t"]]:
    """Closure of the eyes in segments with a face, as tracked; see `landmarks.blinks`.

    Of more segments than `limit`, so many are taken, evenly spread.
    """
    curves = []
    count = min(len(dataset), limit)
    for record in np.linspace(0, len(dataset) - 1, count).round().astype(int):
        segment = dataset.segment(int(record))
        if not segment.valid.any():
            continue
        normalised = retarget.normalise_segment(segment)
        track = blinks.displacements(normalised, valid=segment.valid)
        curves.append(blinks.closure(track).astype(np.float32))
    return curves


class _Frames:
    """A segment's crops, decoded one at a time."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def __len__(self) -> int:
        return len(self._segment)

    def __getitem__(self, index: int) -> np.ndarray:
        from talkface_jax.media.images import decode_jpeg

        return decode_jpeg(self._segment.frames[index])


def _retracked(
    segment: Segment, geometry: boxes.CropGeometry, scheme: str, tracker: Any
) -> np.ndarray | None:
    """The jittered segment's points in the crop boxes; None where no frame shows a face."""
    try:
        pixels = noise.retrack(_Frames(segment), face="largest", tracker=tracker)
    except TalkfaceError:
        return None
    source = boxes.from_box(pixels / RECORD_SIZE, segment.box)
    points = schemes.select(source, schemes.get_scheme(scheme))
    return boxes.to_box(points, geometry.boxes)


def motion_cases(
    dataset: PreparedDataset,
    chain: MotionChain,
    *,
    failures: list[scores.Failure],
    noise_clips: int = 4,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[MotionCase]:
    """One case per segment of a split.

    The first `noise_clips` segments are also tracked again for the noise-floor row. A segment that
    the chain refuses is appended to `failures`, once for every row.
    """
    import contextlib

    from talkface_jax.media.tracker import FaceTracker

    with FaceTracker(max_faces=1) if noise_clips else contextlib.nullcontext() as tracker:
        for record in range(len(dataset)):
            segment = dataset.segment(record)
            name = f"{segment.info.clip}+{segment.start}"
            track = track_of(segment)
            heard = rows_of_samples(segment.audio.astype(np.float32) / 32768.0)
            try:
                face = chain.prepare(track)
                motions = {
                    row: chain.predict_motion(track, samples=samples)
                    for row, samples in heard.items()
                }
            except TalkfaceError as error:
                names = (scores.GROUND_TRUTH, scores.STATIC_MOUTH, *heard)
                failures += [scores.Failure(name, row, str(error)) for row in names]
                continue
            scheme = motions[scores.MODEL].scheme
            content = schemes.get_scheme(scheme).groups["content"]
            again = None
            if record < noise_clips:
                again = _retracked(segment, face.geometry, scheme, tracker)
            yield MotionCase(
                name=name,
                truth=face.geometry.points,
                valid=segment.valid,
                predictions={row: item.landmarks[:, content] for row, item in motions.items()},
                references=face.geometry.points[face.order],
                retracked=again,
                boxes=face.geometry.boxes,
                scheme=scheme,
            )
            if progress:
                progress("predict held-out segments", record + 1, len(dataset))
