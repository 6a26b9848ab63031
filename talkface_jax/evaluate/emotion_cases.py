"""What a chain makes of labelled clips in every emotion, at every level, with other speech and in
another voice: the material of `evaluate.emotions`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax import emotions
from talkface_jax.capabilities import FACE_EMOTION, Declaration, clip_controls
from talkface_jax.data.pipeline import Dataset
from talkface_jax.errors import RecordError, TalkfaceError
from talkface_jax.evaluate import rows, shards, voices
from talkface_jax.features import ctc29
from talkface_jax.landmarks import boxes
from talkface_jax.metrics import closure
from talkface_jax.records import EMOTIONS, ClipInfo, Segment

NEUTRAL = EMOTIONS[emotions.NEUTRAL]
TOP = emotions.LEVELS
LEVELS = (*range(1, TOP + 1), TOP + 1)
"""Of the data sets, and one that lies beyond them."""
NEUTRAL_LEVEL = 0
WRONG_LEVEL = 2
"""Of the wrong emotion of a neutral clip, which has no level of its own."""

Points = Float[np.ndarray, "t n 2"]
Asked = tuple[str, int]
"""An emotion and a level; of neutral, which has none, `NEUTRAL_LEVEL`."""
Progress = Callable[[str, int, int], None]

GRID: tuple[Asked, ...] = (
    (NEUTRAL, NEUTRAL_LEVEL),
    *((name, level) for name in EMOTIONS if name != NEUTRAL for level in LEVELS),
)
"""Everything that is asked of every clip."""


@dataclasses.dataclass(frozen=True, eq=False)
class EmotionCase:
    """One labelled clip and what was predicted for it, all points in source pixels.

    Attributes:
      name: of the clip.
      speaker: who speaks; "" where unknown.
      own: its label.
      wrong: the emotion that is asked instead in the row of the wrong one.
      scheme: of the landmarks.
      truth: tracked points; rows of frames without a face hold those of the nearest one.
      valid: False where the truth has no face.
      still: the mean reference face, moved by the head alone.
      asked: predictions with the clip's own speech, for all of `GRID`.
      other_speech: by emotion, at the top level, with another recording; empty where there is none.
      angry_voice: with the clip's own label and its recording made angry (`evaluate.voices`).
      moments: when p, b and m are said, in seconds from the first frame (`metrics.closure`).
      retracked: the truth jittered and tracked again, NaN where no face was found; None for none.
    """

    name: str
    speaker: str
    own: Asked
    wrong: Asked
    scheme: str
    truth: Points
    valid: Bool[np.ndarray, " t"]
    still: Points
    asked: Mapping[Asked, Points]
    other_speech: Mapping[str, Points]
    angry_voice: Points
    moments: Float[np.ndarray, " k"]
    retracked: Points | None = None


def label(info: ClipInfo) -> Asked | None:
    """The emotion and level of a clip; None where either is unknown. A neutral one needs no
    level."""
    if info.emotion == emotions.NEUTRAL:
        return NEUTRAL, NEUTRAL_LEVEL
    known = info.emotion >= 0 and info.level >= 1
    return (EMOTIONS[info.emotion], info.level) if known else None


def at_top(emotion: str) -> Asked:
    """The emotion at the top level of the data sets."""
    return emotion, NEUTRAL_LEVEL if emotion == NEUTRAL else TOP


def wrong_for(own: Asked, *, rng: np.random.Generator) -> Asked:
    """Another emotion at the same level; of a neutral clip any, at `WRONG_LEVEL`."""
    others = [name for name in EMOTIONS if name not in (own[0], NEUTRAL)]
    level = own[1] if own[0] != NEUTRAL else WRONG_LEVEL
    return others[rng.integers(len(others))], level


def emotion_cases(
    dataset: Dataset,
    chain: Any,
    declaration: Declaration,
    *,
    failures: dict[str, str],
    moments: Callable[[shards.Samples], Float[np.ndarray, " k"]] | None = None,
    limit: int = 48,
    noise_clips: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[EmotionCase]:
    """One case for every labelled segment of a split.

    Of a split of more than `limit` segments with a face, so many are looked at, evenly spread.

    Args:
      dataset: the split.
      chain: of the method (`synthesize.contract.Chain`).
      declaration: of the method; it has the control `emotion`.
      failures: by clip, why it could not be predicted; filled as cases are made.
      moments: when p, b and m are said in a recording; by default as the packaged recogniser hears
        them.
      limit: see above.
      noise_clips: how many of the first are tracked again, for the tracker's own noise.
      seed: of the wrong emotions.
      progress: called as progress(what, done, total).

    Raises:
      RecordError: no segment has a label.
    """
    from talkface_jax.media.tracker import FaceTracker

    chosen = _labelled(dataset, limit)
    with FaceTracker(max_faces=1) if noise_clips else contextlib.nullcontext() as tracker:
        for done, record in enumerate(chosen, 1):
            segment, rng = dataset.segment(record), np.random.default_rng([seed, record])
            maker = _Maker(chain, declaration, moments or _heard, rng)
            try:
                case = maker(segment, other=shards.other_speaker(dataset, record))
            except TalkfaceError as error:
                failures[_name(segment)] = str(error)
                continue
            if done <= noise_clips:
                face = maker.geometry(segment)
                pixels = shards.retracked(segment, face, case.scheme, tracker)
                case = dataclasses.replace(
                    case, retracked=None if pixels is None else boxes.from_box(pixels, face.boxes)
                )
            yield case
            if progress:
                progress("ask for every emotion", done, len(chosen))


def _labelled(dataset: Dataset, limit: int) -> list[int]:
    """Records that show a face and say its emotion, of at most `limit` that are looked at.

    Raises:
      RecordError: there is none.
    """
    shown = [record for record, meta in enumerate(dataset.metas) if meta.valid]
    picks = np.linspace(0, len(shown) - 1, min(len(shown), limit)).round().astype(int)
    found = [shown[pick] for pick in picks if label(dataset.segment(shown[pick]).info) is not None]
    if not found:
        raise RecordError(
            "no clip of the split says which emotion it shows; prepare a set with labels"
        )
    return found


def _heard(samples: shards.Samples) -> Float[np.ndarray, " k"]:
    return closure.heard(ctc29.load()(samples))


def _name(segment: Segment) -> str:
    return f"{segment.info.clip}+{segment.start}"


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Asks a chain for everything that a case holds."""

    chain: Any
    declaration: Declaration
    moments: Callable[[shards.Samples], Float[np.ndarray, " k"]]
    rng: np.random.Generator

    def __call__(self, segment: Segment, *, other: Segment | None) -> EmotionCase:
        """The case of a labelled segment; `other` says something else.

        Raises:
          TalkfaceError: the chain refuses it.
        """
        own = label(segment.info)
        assert own is not None
        track, samples = shards.track_of(segment), shards.samples_of(segment)
        face = self.chain.prepare(track)
        at, schemes_seen = face.geometry.boxes, set()

        def ask(asked: Asked, heard: shards.Samples) -> Points:
            controls = self.controls(asked, shown=segment.info)
            motion = self.chain.predict_motion(track, samples=heard, controls=controls)
            schemes_seen.add(motion.scheme)
            return boxes.from_box(np.asarray(motion.landmarks, np.float64), at)

        asked = {item: ask(item, samples) for item in GRID}
        speech = {}
        if other is not None:
            heard = shards.mismatched(samples, shards.samples_of(other))
            speech = {emotion: ask(at_top(emotion), heard) for emotion in EMOTIONS}
        (scheme,) = schemes_seen
        points = rows.filled(face.geometry.points, segment.valid)
        still = rows.static_face(points, references=points[face.order], scheme=scheme)
        return EmotionCase(
            name=_name(segment),
            speaker=segment.info.speaker,
            own=own,
            wrong=wrong_for(own, rng=self.rng),
            scheme=scheme,
            truth=boxes.from_box(points, at),
            valid=segment.valid,
            still=boxes.from_box(still, at),
            asked=asked,
            other_speech=speech,
            angry_voice=ask(own, voices.angry(samples)),
            moments=self.moments(samples),
        )

    def controls(self, asked: Asked, *, shown: ClipInfo) -> dict[str, Any]:
        """What asks for an emotion of a face that shows another."""
        name, level = asked
        wanted = clip_controls(self.declaration, emotion=EMOTIONS.index(name), level=level)
        own = clip_controls(self.declaration, emotion=shown.emotion, level=shown.level)
        kept = {name: own[name] for name in (FACE_EMOTION.name,) if name in own}
        return {**wanted, **kept}

    def geometry(self, segment: Segment) -> boxes.CropGeometry:
        """The crop boxes of the method."""
        return self.chain.prepare(shards.track_of(segment)).geometry
