"""What the renderer takes of a segment (Zhong et al., CVPR 2023; released code)."""

import dataclasses

import jax
import numpy as np
from jaxtyping import UInt8

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import mel
from talkface_jax.landmarks import boxes
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.media.sketch import draw_sketch
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.iplap import segments
from talkface_jax.methods.iplap.references import WINDOW
from talkface_jax.records import RECORD_SIZE


@dataclasses.dataclass(frozen=True)
class RenderView:
    """Single frames for the renderer, the middle ones of windows of five sketches; images as bytes.

    A sample holds `face` (s, s, 3), the target; `masked`, the same with its lower half black;
    `sketch` (5, s, s, 3); `ref_image` and `ref_sketch` (r, s, s, 3); `mel` (80, 16) of the middle
    frame; `points` (5, 131, 2) and `ref_points` (r, 131, 2), normalised to the crop.

    Attributes:
      references: r.
      size: s; sketches are drawn at 128 and resized to it.
      margin, smooth: of the crop box, as in `landmarks.boxes.crop_boxes`.
    """

    references: int = 3
    size: int = 128
    margin: float = 0.2
    smooth: float = 12.0
    name: str = "iplap/render"
    window: int = WINDOW
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        image, count = (self.size, self.size, 3), self.references
        images = {
            "face": image,
            "masked": image,
            "sketch": (self.window, *image),
            "ref_image": (count, *image),
            "ref_sketch": (count, *image),
        }
        numbers = {
            "mel": (mel.BANDS, mel.WINDOW_ROWS),
            "points": (self.window, 131, 2),
            "ref_points": (count, 131, 2),
        }
        return batch_spec(batch_size, numbers, images)

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """The middle frame of one window; see the class."""
        light = segments.read(segment, self.margin, self.smooth)
        frames = np.arange(start, start + self.window)
        middle = start + self.window // 2
        others = segments.draw(light, frames, self.references, rng, train=train)
        face = self._image(segment, light, middle)
        masked = face.copy()
        masked[self.size // 2 :] = 0
        return {
            "face": face,
            "masked": masked,
            "sketch": self._sketches(light, frames),
            "ref_image": np.stack([self._image(segment, light, int(frame)) for frame in others]),
            "ref_sketch": self._sketches(light, others),
            "mel": light.mel_windows(np.asarray([middle]))[0],
            "points": light.geometry.points[frames],
            "ref_points": light.geometry.points[others],
        }

    def _image(
        self, segment: SegmentReader, light: segments.Light, frame: int
    ) -> UInt8[np.ndarray, "s s 3"]:
        """The crop of one frame, cut out of the record's wider crop."""
        corners = light.geometry.boxes[frame].reshape(2, 2)
        box = boxes.to_box(corners, light.record_boxes[frame]).reshape(4) * RECORD_SIZE
        return crop_resize(decode_jpeg(segment.frames[frame]), box, (self.size, self.size))

    def _sketches(self, light: segments.Light, frames: np.ndarray) -> UInt8[np.ndarray, "k s s 3"]:
        sizes = light.geometry.boxes[:, 2:] - light.geometry.boxes[:, :2]
        return np.stack(
            [
                draw_sketch(
                    light.geometry.points[frame],
                    (sizes[frame, 1], sizes[frame, 0]),
                    size=self.size,
                )
                for frame in frames
            ]
        )
