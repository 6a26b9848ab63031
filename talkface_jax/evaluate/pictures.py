"""What a reader looks at: frames of the same instants, and one pixel column over time."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from talkface_jax.evaluate import crops, framing

STRIP_FRAMES = 6
STRIP_SIZE = (192, 160)
SLICE_HEIGHT = 192
CONVENTION = (
    "a pixel column through the middle of the true mouth, from brow to chin, standing still in "
    "the frame; time runs to the right, one pixel a frame: a jittering face makes a ragged edge, a "
    "seam a level line, a late mouth a shifted pattern"
)


@dataclasses.dataclass
class ClipPictures:
    """A clip's pictures by row, as JPEG.

    Attributes:
      instants: frame numbers of the strip, the same in every row.
      strips: row -> a face crop at each instant.
      slices: row -> the pixel column over time.
    """

    instants: tuple[int, ...]
    strips: dict[str, tuple[bytes, ...]] = dataclasses.field(default_factory=dict)
    slices: dict[str, bytes] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, valid: Bool[np.ndarray, " t"]) -> "ClipPictures":
        """For instants spread evenly over the frames in which the truth shows a face."""
        found = np.flatnonzero(valid)
        picks = np.unique(np.linspace(0, len(found) - 1, STRIP_FRAMES).round().astype(int))
        return cls(tuple(int(index) for index in found[picks]))

    def add(
        self,
        row: str,
        video: Any,
        truth: crops.Boxes,
        found: framing.Framing | None = None,
    ) -> None:
        """Takes a row's pictures.

        Args:
          row: of the table.
          video: its frames; instants past its end show its last frame.
          truth: the true boxes.
          found: where the true picture lies in the video's; None for the truth itself.
        """
        from talkface_jax.media.images import encode_jpeg

        last = min(len(video), len(truth.face)) - 1
        instants = [min(index, last) for index in self.instants]
        column = _column(truth)
        faces = truth.face if found is None else found.boxes(truth.face)
        where = column if found is None else found.boxes(column)
        strip = crops.cut(video, faces, instants, STRIP_SIZE)
        self.strips[row] = tuple(encode_jpeg(frame) for frame in strip)
        self.slices[row] = encode_jpeg(_slice(video, where[: last + 1]))


def _column(truth: crops.Boxes) -> Float[np.ndarray, "t 4"]:
    """A box one pixel of the slice wide, the same in every frame."""
    face, mouth = np.median(truth.face, 0), np.median(truth.mouth, 0)
    middle, half = (mouth[0] + mouth[2]) / 2, (face[3] - face[1]) / SLICE_HEIGHT / 2
    return np.tile([middle - half, face[1], middle + half, face[3]], (len(truth.face), 1))


def _slice(video: Any, where: Float[np.ndarray, "t 4"]) -> UInt8[np.ndarray, "h t 3"]:
    columns = crops.cut(video, where, range(len(where)), (SLICE_HEIGHT, 1))
    return np.concatenate(list(columns), 1)
