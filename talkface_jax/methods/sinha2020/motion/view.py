"""What the motion stage takes of a segment: speech-content windows and normalised motion."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import content
from talkface_jax.landmarks import retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.stages.portrait import sound
from talkface_jax.records import Segment

_POINTS = len(get_scheme("ibug68"))


OFFSETS_VERSION = 1
"""Raised when `motion_offsets` gives other numbers: what runs kept on disk is then made again."""


def motion_offsets(
    segment: Segment, *, reference_count: int = retarget.REFERENCES
) -> Float32[np.ndarray, "t 68 2"]:
    """The segment's person-independent motion.

    Raises:
      ValueError: no frame shows a face.
    """
    face = retarget.normalise_segment(segment, reference_count=reference_count)
    return face.offsets.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class MotionView:
    """Windows of consecutive frames; images are never decoded.

    A sample holds `content` (t, rows, f), the feature rows around each frame, and `offsets`
    (t, 68, 2), the person-independent motion.

    Attributes:
      feature, weights: as in `features.content.open_feature`.
      rows: of the window around each frame.
      window: t.
      references: frames whose mean is the person's neutral face.
      flip: whether half of the training samples have the mirrored motion.
    """

    feature: str = "deepspeech"
    weights: str = ""
    rows: int = content.WINDOW_ROWS
    window: int = 5
    references: int = retarget.REFERENCES
    flip: bool = False
    name: str = "sinha2020/motion"
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        size = content.SIZES[self.feature]
        shapes = {
            "content": (self.window, self.rows, size),
            "offsets": (self.window, _POINTS, 2),
        }
        return batch_spec(batch_size, shapes)

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window; see the class.

        Raises:
          WeightsError: the features' weights are missing or altered.
        """
        (motion,) = segment.stored(
            f"sinha2020-offsets-v{OFFSETS_VERSION}-{self.references}",
            lambda segment: (motion_offsets(segment, reference_count=self.references),),
        )
        frames = np.arange(start, start + self.window)
        offsets = motion[frames]
        if train and self.flip and rng.random() < 0.5:
            offsets = retarget.mirror(offsets)
        windows = sound.heard(
            segment, frames, feature=self.feature, weights=self.weights, length=self.rows
        )
        return {"content": windows, "offsets": offsets}
