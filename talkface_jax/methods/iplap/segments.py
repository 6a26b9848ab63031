"""What both stages take of a segment besides its images, and which frames stand as references."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32

from talkface_jax.data import transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import mel
from talkface_jax.landmarks import boxes
from talkface_jax.methods.iplap import references
from talkface_jax.records import Segment


@dataclasses.dataclass(frozen=True)
class Light:
    """What the views need of a segment besides its images; small enough to keep in memory.

    `mel` is a part of the clip's spectrogram that begins at its row `first_row`; `start` is the
    clip's frame at which the segment begins.
    """

    geometry: boxes.CropGeometry
    record_boxes: Float32[np.ndarray, "t 4"]
    valid: Bool[np.ndarray, " t"]
    opening: Float[np.ndarray, " t"]
    mel: Float32[np.ndarray, "m 80"]
    first_row: int
    start: int

    def mel_windows(self, frames: np.ndarray) -> np.ndarray:
        """The sound around frames of the segment; see `features.mel.mel_windows`."""
        return mel.mel_windows(self.mel, self.start + frames, first=self.first_row)


def _light(segment: Segment, *, margin: float, smooth: float) -> Light:
    source = boxes.from_box(segment.landmarks, segment.box)
    geometry = boxes.crop_geometry(source, valid=segment.valid, margin=margin, smooth=smooth)
    sound, first_row = transforms.segment_sound(segment, hop=mel.HOP)
    return Light(
        geometry=geometry,
        record_boxes=segment.box,
        valid=segment.valid,
        opening=references.openness(geometry),
        mel=mel.log_mel(sound),
        first_row=first_row,
        start=segment.start,
    )


def read(reader: SegmentReader, margin: float, smooth: float) -> Light:
    """The light part, cached; both stages share it where margin and smoothing agree."""
    return reader.derived(
        f"iplap-{mel.cache_key()}-{margin}-{smooth}",
        lambda segment: _light(segment, margin=margin, smooth=smooth),
    )


def draw(
    light: Light, frames: np.ndarray, count: int, rng: np.random.Generator, *, train: bool
) -> np.ndarray:
    """Frames outside the window: random ones, or spread over lip openness when not training."""
    outside = transforms.frames_outside(light.valid, start=int(frames[0]), window=len(frames))
    if train:
        return transforms.draw_references(rng, outside, count)
    return references.spread(light.opening, valid=outside, count=count)
