"""What the motion stage takes of a segment: speech, emotion, a face, and its motion from there."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data import labels
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.emotions import CONTEMPT, EMOTIONS, NEUTRAL
from talkface_jax.features import content, ctc29
from talkface_jax.landmarks import blinks, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.stages.portrait import sound
from talkface_jax.metrics import closure
from talkface_jax.records import FPS, Segment

_SCHEME = get_scheme("ibug68")
_POINTS = len(_SCHEME)
VERSION = 1
"""Raised when `face_arrays` gives other numbers: what runs kept on disk is then made again."""
BILABIAL_VERSION = 1
"""The same, of which frames are near a p, b or m."""


@dataclasses.dataclass(frozen=True)
class FaceArrays:
    """A segment's face in the canonical frame of `landmarks.retarget`.

    Attributes:
      rest: the face at rest with open eyes (`landmarks.blinks.at_rest`).
      scale: width and height of the mean face over those of this one.
      points: the face in each frame, the head's pose taken out.
      closure: of the eyes, 0 open to 1 closed.
      emotion: the clip's label (`emotions.of_label`).
    """

    rest: Float32[np.ndarray, "68 2"]
    scale: Float32[np.ndarray, "2"]
    points: Float32[np.ndarray, "t 68 2"]
    closure: Float32[np.ndarray, " t"]
    emotion: Float32[np.ndarray, "8"]


def face_arrays(
    segment: Segment, *, reference_count: int = retarget.REFERENCES
) -> tuple[np.ndarray, ...]:
    """The fields of `FaceArrays`, in their order.

    Raises:
      ConfigError: the segment has no label.
      ValueError: no frame shows a face.
    """
    emotion = labels.label_of(segment.info)
    face = retarget.normalise_segment(segment, reference_count=reference_count)
    eyes = blinks.open_eyes(face, valid=segment.valid)
    arrays = (
        blinks.at_rest(face, eyes),
        face.scale,
        face.neutral + face.offsets / face.scale,
        blinks.closure(blinks.displacements(face, valid=segment.valid)),
        emotion,
    )
    return tuple(np.asarray(item, np.float32) for item in arrays)


def _near_bilabials(segment: Segment) -> np.ndarray:
    sound = segment.audio.astype(np.float32) / 32768
    middles = (np.arange(len(segment)) + 0.5) / FPS
    moments = closure.heard(ctc29.load()(sound))
    near = np.abs(middles - moments[:, None]) <= closure.WINDOW
    return np.asarray(near.any(0), np.float32)


@dataclasses.dataclass(frozen=True)
class MotionView:
    """Windows of consecutive frames; images are never decoded.

    A sample holds `content` (t, rows, f), the feature rows around each frame; `emotion` (t, 8),
    what the speaker shows; `face` (68, 2), a face of the speaker at rest, and `face_emotion` (8,),
    what it shows; `offsets` (t, 68, 2), the motion from it, person-independent; `seen` (t, 68), 1
    where the motion is to be learned: lids and brows of a frame with closing eyes are not; and
    `bilabial` (t,), 1 near a p, b or m (`metrics.closure.heard`), which closes the lips, where
    `bilabials` asks for it.

    Attributes:
      feature, weights: as in `features.content.open_feature`.
      rows: of the window around each frame.
      window: t.
      references: frames whose mean is a face at rest.
      neutral_share, other_share: how often the face is of a neutral clip of the speaker, or of any
        other of its clips; where there is none, it is the clip's own.
      bilabials: whether p, b and m are listened for: a pass of the recogniser over every segment.
      flip: whether half of the training samples are mirrored, but for contempt.
      face_noise, face_stretch: changes of the face in training, see `MotionConfig`.
    """

    feature: str = "whisper_tiny"
    weights: str = ""
    rows: int = content.WINDOW_ROWS
    window: int = 5
    references: int = retarget.REFERENCES
    neutral_share: float = 0.5
    other_share: float = 0.25
    bilabials: bool = False
    flip: bool = False
    face_noise: float = 0.0
    face_stretch: float = 0.0
    name: str = "sinha2022/motion"
    labels: bool = True
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        emotions = len(EMOTIONS)
        near = {"bilabial": (self.window,)} if self.bilabials else {}
        return batch_spec(
            batch_size,
            {
                "content": (self.window, self.rows, content.SIZES[self.feature]),
                "emotion": (self.window, emotions),
                "face_emotion": (emotions,),
                "face": (_POINTS, 2),
                "offsets": (self.window, _POINTS, 2),
                "seen": (self.window, _POINTS),
                **near,
            },
        )

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window; see the class.

        Raises:
          ConfigError: the clip has no label.
          WeightsError: the features' weights are missing or altered.
        """
        frames = np.arange(start, start + self.window)
        own = self._face(segment)
        other = self._face(self._source(segment, rng))
        seen = np.ones((self.window, _POINTS), np.float32)
        seen[np.ix_(own.closure[frames] > blinks.EDGE, blinks.POINTS)] = 0
        sample = {
            "content": sound.heard(
                segment, frames, feature=self.feature, weights=self.weights, length=self.rows
            ),
            "emotion": np.tile(own.emotion, (self.window, 1)),
            "face_emotion": other.emotion,
            "face": other.rest,
            "offsets": (own.points[frames] - other.rest) * other.scale,
            "seen": seen,
        }
        if self.bilabials:
            sample["bilabial"] = self._bilabial(segment)[frames]
        return self._changed(sample, rng) if train else sample

    def _face(self, segment: SegmentReader) -> FaceArrays:
        arrays = segment.stored(
            f"sinha2022-face-v{VERSION}-{self.references}",
            lambda segment: face_arrays(segment, reference_count=self.references),
        )
        return FaceArrays(*arrays)

    def _bilabial(self, segment: SegmentReader) -> Float32[np.ndarray, " t"]:
        """1 in the frames of a segment that are near a p, b or m."""
        (found,) = segment.stored(
            f"bilabial-v{BILABIAL_VERSION}-{closure.WINDOW:g}-{ctc29.load().cache_key()}",
            lambda segment: (_near_bilabials(segment),),
        )
        return found

    def _source(self, segment: SegmentReader, rng: np.random.Generator) -> SegmentReader:
        """Whose face the motion starts from; by draws in evaluation, too: emotion is to be seen to
        change there."""
        drawn = rng.random()
        if drawn < self.neutral_share:
            return segment.other_clip(rng, emotion=NEUTRAL) or segment
        if drawn < self.neutral_share + self.other_share:
            return segment.other_clip(rng) or segment
        return segment

    def _changed(
        self, sample: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The sample mirrored, and of a face that is nobody's."""
        changed = dict(sample)
        mirrored = self.flip and rng.random() < 0.5
        if mirrored and not (
            sample["emotion"][:, CONTEMPT].any() or sample["face_emotion"][CONTEMPT]
        ):
            changed["face"] = retarget.mirror(sample["face"])
            changed["offsets"] = retarget.mirror(sample["offsets"])
            changed["seen"] = sample["seen"][:, _SCHEME.flip]
        if self.face_noise or self.face_stretch:
            stretch = 1 + rng.uniform(-self.face_stretch, self.face_stretch, 2)
            noise = self.face_noise * rng.standard_normal((_POINTS, 2))
            changed["face"] = (changed["face"] * stretch + noise).astype(np.float32)
        return changed
