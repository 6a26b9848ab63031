"""What the reader of emotions takes of a segment: statistics of blendshapes, and the label."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data import labels
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import emotion
from talkface_jax.methods.emotion.blendshapes.config import FaceNoiseConfig
from talkface_jax.records import Segment

# How far a face at rest goes to those of others.
_WAY = 0.3, 1.2
_SCORES = "emotion-scores"


def label_of(segment: Segment) -> tuple[int, float]:
    """Emotion and intensity of a segment: level over 3, and 0 of a neutral face.

    Raises:
      ConfigError: it has no label.
    """
    return segment.info.emotion, float(labels.label_of(segment).max())


def _labelled(segment: Segment) -> tuple[np.ndarray, int, float]:
    """The scores of the valid frames (copied, as the record is not to be kept), and the label."""
    return segment.blendshapes[segment.valid].copy(), *label_of(segment)


def _rest(
    segment: SegmentReader | None, rng: np.random.Generator
) -> Float32[np.ndarray, " 52"] | None:
    """Mean scores of a neutral clip of the segment's speaker, this one if it is; None for none."""
    if segment is not None and segment.meta.emotion != emotion.NEUTRAL:
        segment = segment.other_clip(rng, emotion=emotion.NEUTRAL)
    return None if segment is None else segment.derived(_SCORES, _labelled)[0].mean(0)


def _exchange(
    segment: SegmentReader, rng: np.random.Generator
) -> Float32[np.ndarray, " 52"] | np.float32:
    """From this person's face at rest some way to, or beyond, a mixture of two others'; 0 where no
    neutral clips are found."""
    own = _rest(segment, rng)
    first, second = (_rest(segment.other_speaker(rng), rng) for _ in range(2))
    share, way = rng.uniform(0, 1), rng.uniform(*_WAY)
    if own is None or first is None or second is None:
        return np.float32(0)
    return (way * (share * first + (1 - share) * second - own)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class EmotionView:
    """Stretches of a segment of any length, down to a single frame; images are never decoded.

    A sample holds `statistics` (k,) of `features.emotion`, the class `emotion`, and `intensity`
    (level / 3, 0 of a neutral face). Lengths are spread evenly over their logarithm, and every
    frame is as likely.

    Attributes:
      face: augmentation.
    """

    face: FaceNoiseConfig = dataclasses.field(default_factory=FaceNoiseConfig)
    name: str = "emotion/blendshapes"
    window: int = 1
    faces: bool = True
    labels: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        return {
            "statistics": jax.ShapeDtypeStruct((batch_size, emotion.STATISTICS), np.float32),
            "emotion": jax.ShapeDtypeStruct((batch_size,), np.int32),
            "intensity": jax.ShapeDtypeStruct((batch_size,), np.float32),
        }

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """A stretch of the segment's valid frames; see the class.

        Raises:
          ConfigError: the segment has no label.
        """
        del start
        scores, label, intensity = segment.derived(_SCORES, _labelled)
        length = round(np.exp(rng.uniform(0, np.log(len(scores)))))
        first = int(rng.integers(len(scores) - length + 1))
        stretch = scores[first : first + length]
        if train and rng.random() < self.face.exchanged:
            stretch = np.clip(stretch + _exchange(segment, rng), 0, 1)
        if train:
            stretch = disturb(rng, stretch, self.face)
        return {
            "statistics": emotion.statistics(stretch),
            "emotion": np.array(label, np.int32),
            "intensity": np.array(intensity, np.float32),
        }


def disturb(
    rng: np.random.Generator, scores: Float32[np.ndarray, "t 52"], face: FaceNoiseConfig
) -> Float32[np.ndarray, "t 52"]:
    """Another face that does the same: see `FaceNoiseConfig`; scores stay in [0, 1]."""
    shapes = scores.shape[1]
    gain = np.exp(rng.normal(0, face.gain, shapes))
    if rng.random() < face.damped:
        gain *= np.where(rng.random(shapes) < 0.25, rng.random(shapes), 1.0)
    offset = rng.normal(0, face.offset, shapes)
    noise = rng.normal(0, face.noise, scores.shape)
    return np.clip(scores * gain + offset + noise, 0, 1).astype(np.float32)
