"""What the render stage takes of a segment: a frame, a picture of the same person, and what both
show."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np

from talkface_jax.data import labels, transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.emotions import CONTEMPT, EMOTIONS, NEUTRAL
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.stages.portrait.view import PortraitView


@dataclasses.dataclass(frozen=True)
class RenderView(PortraitView):
    """As `PortraitView`; a sample also holds `emotion` and `face_emotion`, both (8,): the labels of
    the target's clip and of the picture's, as vectors (`emotions.of_label`).

    Attributes:
      source: "clip", the picture is another frame of the same segment; "neutral", a frame of
        another clip of the speaker that is labelled neutral, if there is one.
    """

    source: Literal["neutral", "clip"] = "neutral"
    name: str = "sinha2022/render"
    labels: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        emotions = {key: (len(EMOTIONS),) for key in ("emotion", "face_emotion")}
        return super().spec(batch_size) | batch_spec(batch_size, emotions)

    def picture(
        self, segment: SegmentReader, frame: int, rng: np.random.Generator, *, train: bool
    ) -> tuple[SegmentReader, int]:
        """As in `PortraitView`, of the clip that `source` says; by a draw in evaluation, too."""
        found = None
        if self.source == "neutral":
            found = segment.other_clip(rng, emotion=NEUTRAL)
        if found is None:
            return super().picture(segment, frame, rng, train=train)
        light = self.light(found)
        if train:
            return found, int(transforms.draw_references(rng, np.flatnonzero(light.valid), 1)[0])
        return found, identity_frame(lips=light.lips, eyes=light.eyes, valid=light.valid)

    def beside(
        self, target: tuple[SegmentReader, int], source: tuple[SegmentReader, int]
    ) -> dict[str, np.ndarray]:
        """Both labels.

        Raises:
          ConfigError: a clip has none.
        """
        return {
            key: reader.derived("sinha2022-label", labels.label_of)
            for key, reader in (("emotion", target[0]), ("face_emotion", source[0]))
        }

    def mirrors(self, sample: Mapping[str, np.ndarray]) -> bool:
        """Contempt shows on one side of the face."""
        return not (sample["emotion"][CONTEMPT] or sample["face_emotion"][CONTEMPT])
