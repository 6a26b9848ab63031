"""What the blink stage takes of a segment: the fast motion of lids and brows."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.landmarks import blinks, retarget
from talkface_jax.methods.base import batch_spec
from talkface_jax.records import Segment


def blink_track(
    segment: Segment, *, reference_count: int = retarget.REFERENCES
) -> Float32[np.ndarray, "t 22 2"]:
    """The segment's displacement track; see `landmarks.blinks`.

    Raises:
      ValueError: no frame shows a face.
    """
    face = retarget.normalise_segment(segment, reference_count=reference_count)
    return blinks.displacements(face, valid=segment.valid)


@dataclasses.dataclass(frozen=True)
class BlinkView:
    """Windows of consecutive frames; neither images nor sound are looked at.

    A sample holds `blink` (t, 22, 2), the displacements from the open eye, of no label or
    blendshape, only of tracked points.

    Attributes:
      window: t.
      references: frames whose mean is the person's neutral face.
    """

    window: int = 75
    references: int = retarget.REFERENCES
    name: str = "blink"
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        return batch_spec(batch_size, {"blink": (self.window, len(blinks.POINTS), 2)})

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window; see the class. Nothing is drawn."""
        del rng, train
        track = segment.derived(
            f"blink-{self.references}",
            lambda segment: blink_track(segment, reference_count=self.references),
        )
        return {"blink": track[start : start + self.window]}
