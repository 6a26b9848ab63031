"""Motion cases from a prepared data set: what a chain predicts for every held-out segment."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32

from talkface_jax.capabilities import Declaration, clip_controls
from talkface_jax.data.pipeline import Dataset, PreparedDataset
from talkface_jax.errors import FaceError, RecordError, TalkfaceError
from talkface_jax.evaluate import noise, ridge, scores
from talkface_jax.evaluate.landmarks import MotionCase
from talkface_jax.evaluate.rows import SHIFT
from talkface_jax.landmarks import align, blinks, boxes, retarget, schemes
from talkface_jax.records import (
    EMOTIONS,
    NO_CONTROLS,
    RECORD_SIZE,
    SAMPLES_PER_FRAME,
    ClipInfo,
    Controls,
    FaceTrack,
    Motion,
    Segment,
)

Samples = Float32[np.ndarray, " s"]
Progress = Callable[[str, int, int], None]
_TRUE_ROWS = (scores.GROUND_TRUTH, scores.STATIC_MOUTH)
_OTHER_HALF = (scores.MODEL_OTHER_HALF, scores.STATIC_OTHER_HALF)


class MotionChain(Protocol):
    """What is asked of a method's chain (`synthesize.contract.Chain`)."""

    def prepare(self, track: FaceTrack, *, references: Bool[np.ndarray, " t"] | None = None) -> Any:
        """Its `geometry` (`landmarks.boxes.CropGeometry`) and `order`, the landmark references;
        these are of the frames `references`, where given."""
        ...

    def predict_motion(
        self,
        track: FaceTrack,
        *,
        samples: Samples,
        controls: Controls = NO_CONTROLS,
        references: Bool[np.ndarray, " t"] | None = None,
    ) -> Motion:
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


def samples_of(segment: Segment) -> Samples:
    """The segment's sound in [-1, 1]."""
    return segment.audio.astype(np.float32) / 32768.0


def groups_of(info: ClipInfo) -> dict[str, str]:
    """What is known of a clip that clips can be grouped by."""
    known = {
        "emotion": EMOTIONS[info.emotion] if info.emotion >= 0 else "",
        "level": str(info.level) if info.level >= 0 else "",
        "view": info.view,
    }
    return {name: value for name, value in known.items() if value}


def rows_of_samples(samples: Samples) -> Mapping[str, Samples]:
    """The recording that each model row hears: itself, 10 frames ahead (cyclic), silence."""
    return {
        scores.MODEL: samples,
        scores.SHIFTED_AUDIO: np.roll(samples, -SHIFT * SAMPLES_PER_FRAME),
        scores.SILENCE: np.zeros_like(samples),
    }


def speakers_of(dataset: Dataset) -> int:
    """How many speakers a split has."""
    return len({meta.speaker for meta in dataset.metas})


def mismatched(samples: Samples, other: Samples) -> Samples:
    """Another recording, repeated or cut to the length of `samples`, from its middle on: mouths are
    closed where clips begin and end, and two that begin together would correlate by that alone."""
    return np.roll(np.resize(other, samples.shape), samples.size // 2)


def other_speaker(dataset: Dataset, record: int) -> Segment | None:
    """The next segment, cyclically, of another speaker who says another sentence; None if there is
    none.

    Where the words are unknown, clips of one file name count as one sentence: data sets number
    their sentences so.
    """
    metas = dataset.metas
    for step in range(1, len(metas)):
        index = (record + step) % len(metas)
        if metas[index].speaker == metas[record].speaker:
            continue
        other, own = dataset.segment(index), dataset.segment(record)
        if _sentence(other.info) != _sentence(own.info):
            return other
    return None


def _sentence(info: ClipInfo) -> str:
    return info.text.casefold() or info.clip.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class TrackedBlinks:
    """Closure of the eyes over time (`landmarks.blinks`), and who is seen, of each segment."""

    curves: list[Float32[np.ndarray, " t"]]
    speakers: list[str]


def blink_curves(dataset: PreparedDataset, *, limit: int = 2000) -> TrackedBlinks:
    """The closure of the eyes in segments with a face, as tracked.

    Of more segments than `limit`, so many are taken, evenly spread.
    """
    found = TrackedBlinks([], [])
    count = min(len(dataset), limit)
    for record in np.linspace(0, len(dataset) - 1, count).round().astype(int):
        segment = dataset.segment(int(record))
        if not segment.valid.any():
            continue
        normalised = retarget.normalise_segment(segment)
        track = blinks.displacements(normalised, valid=segment.valid)
        found.curves.append(blinks.closure(track).astype(np.float32))
        found.speakers.append(segment.info.speaker)
    return found


def fit_ridge(
    dataset: Dataset,
    chain: MotionChain,
    *,
    frames: int = ridge.FRAMES,
    progress: Progress | None = None,
) -> ridge.Ridge:
    """The ridge regression in the chain's scheme, with the references that the chain would take.

    Of a set with more than `frames` frames with a face, so many segments are taken that theirs come
    to about as many, evenly spread.

    Args:
      dataset: the training split.
      chain: of the method.
      frames: see above.
      progress: called as progress(what, done, total).

    Raises:
      RecordError: no frame has a face.
    """
    chosen = [record for record, meta in enumerate(dataset.metas) if meta.valid]
    if not chosen:
        raise RecordError("no frame of the training split has a face")
    known = sum(dataset.metas[record].valid for record in chosen)
    count = max(1, min(len(chosen), len(chosen) * frames // known))
    picks = np.linspace(0, len(chosen) - 1, count).round().astype(int)
    first = dataset.segment(chosen[0])
    scheme = chain.predict_motion(track_of(first), samples=samples_of(first)).scheme

    def examples() -> Iterator[ridge.Example]:
        for done, pick in enumerate(picks, 1):
            segment = dataset.segment(chosen[pick])
            face = chain.prepare(track_of(segment))
            points = face.geometry.points
            yield ridge.Example(
                speaker=segment.info.speaker,
                points=points,
                valid=segment.valid,
                references=points[face.order],
                samples=samples_of(segment),
            )
            if progress:
                progress("fit the ridge regression", done, len(picks))

    return ridge.fit(examples(), scheme=scheme)


class _Frames:
    """A segment's crops, decoded one at a time."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def __len__(self) -> int:
        return len(self._segment)

    def __getitem__(self, index: int) -> np.ndarray:
        from talkface_jax.media.images import decode_jpeg

        return decode_jpeg(self._segment.frames[index])


def retracked(
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


def other_half_rows(
    track: FaceTrack, chain: MotionChain, *, samples: Samples, controls: Controls = NO_CONTROLS
) -> dict[str, Float32[np.ndarray, "t c 2"]]:
    """The model and the static mouth with references from the other half of the frames only: each
    half is predicted from the other, with the same controls.

    Raises:
      FaceError: a half has no frame with a face.
    """
    first = np.arange(len(track)) < len(track) // 2
    made: dict[str, np.ndarray] = {}
    for half in (first, ~first):
        face = chain.prepare(track, references=~half)
        motion = chain.predict_motion(track, samples=samples, references=~half, **_given(controls))
        groups, points = schemes.get_scheme(motion.scheme).groups, face.geometry.points
        pose, content = groups["pose"], groups["content"]
        known = points[face.order]
        # Points of frames without a face are no head to align to; they are not scored either.
        there = np.where(track.valid[:, None, None], points, known[0])[:, pose]
        still = align.static_mouth(known[:, pose], known[:, content], there)
        parts = (
            (scores.MODEL_OTHER_HALF, motion.landmarks[:, content]),
            (scores.STATIC_OTHER_HALF, still),
        )
        for row, part in parts:
            made.setdefault(row, np.zeros_like(part))[half] = part[half]
    return made


def _given(controls: Controls) -> dict[str, Any]:
    """As keyword arguments; none where nothing is asked, as of a chain that takes no controls."""
    return {"controls": controls} if controls else {}


@dataclasses.dataclass(frozen=True)
class _Predictor:
    """Makes cases of segments; see `motion_cases`."""

    dataset: Dataset
    chain: MotionChain
    declaration: Declaration | None
    linear: ridge.Ridge | None
    failures: list[scores.Failure]

    def case(self, record: int, *, tracker: Any) -> MotionCase | None:
        """The case of a segment, None where the chain refuses it."""
        segment = self.dataset.segment(record)
        name = f"{segment.info.clip}+{segment.start}"
        track, samples = track_of(segment), samples_of(segment)
        asked = self._controls(segment.info)
        heard = dict(rows_of_samples(samples))
        if (other := other_speaker(self.dataset, record)) is not None:
            heard[scores.MISMATCHED] = mismatched(samples, samples_of(other))
        try:
            face = self.chain.prepare(track)
            motions = {
                row: self.chain.predict_motion(track, samples=sound, **_given(asked))
                for row, sound in heard.items()
            }
        except TalkfaceError as error:
            others = (
                *_TRUE_ROWS,
                *_OTHER_HALF,
                *([scores.RIDGE] if self.linear is not None else []),
            )
            self._fail(name, (*heard, *others), str(error))
            return None
        if other is None and speakers_of(self.dataset) > 1:
            self._fail(name, (scores.MISMATCHED,), "nobody else says another sentence")
        scheme, points = motions[scores.MODEL].scheme, face.geometry.points
        content, references = schemes.get_scheme(scheme).groups["content"], points[face.order]
        predictions = {row: item.landmarks[:, content] for row, item in motions.items()}
        try:
            predictions |= other_half_rows(track, self.chain, samples=samples, controls=asked)
        except FaceError as error:
            self._fail(name, _OTHER_HALF, str(error))
        if self.linear is not None:
            there = np.where(segment.valid[:, None, None], points, references[0])
            predictions[scores.RIDGE] = self.linear.predict(
                there, references=references, samples=samples
            )
        noisy = None
        if tracker is not None:
            noisy = retracked(segment, face.geometry, scheme, tracker)
        return MotionCase(
            name=name,
            truth=points,
            valid=segment.valid,
            predictions=predictions,
            references=references,
            retracked=noisy,
            boxes=face.geometry.boxes,
            scheme=scheme,
            speaker=segment.info.speaker,
            groups=groups_of(segment.info),
        )

    def _controls(self, info: ClipInfo) -> Controls:
        """What the clip's label asks of the method."""
        if self.declaration is None:
            return NO_CONTROLS
        return clip_controls(self.declaration, emotion=info.emotion, level=info.level)

    def _fail(self, name: str, rows: Iterable[str], reason: str) -> None:
        self.failures.extend(scores.Failure(name, row, reason) for row in rows)


def motion_cases(
    dataset: Dataset,
    chain: MotionChain,
    *,
    failures: list[scores.Failure],
    declaration: Declaration | None = None,
    linear: ridge.Ridge | None = None,
    noise_clips: int = 4,
    progress: Progress | None = None,
) -> Iterator[MotionCase]:
    """One case per segment of a split.

    The first `noise_clips` segments are also tracked again for the noise-floor row. A segment that
    the chain refuses is appended to `failures`, once for every row, and so is a row that a segment
    alone cannot have (no face in one half, nobody else who says another sentence). With one speaker
    there is no mismatched row.

    Args:
      dataset: the split.
      chain: of the method.
      failures: appended to.
      declaration: of the method; one that takes an emotion is asked for that of each labelled clip,
        in every row.
      linear: the regression of the ridge row; None for no such row.
      noise_clips: see above.
      progress: called as progress(what, done, total).
    """
    from talkface_jax.media.tracker import FaceTracker

    predictor = _Predictor(dataset, chain, declaration, linear, failures)
    with FaceTracker(max_faces=1) if noise_clips else contextlib.nullcontext() as tracker:
        for record in range(len(dataset.metas)):
            case = predictor.case(record, tracker=tracker if record < noise_clips else None)
            if case is None:
                continue
            yield case
            if progress:
                progress("predict held-out segments", record + 1, len(dataset.metas))
