"""What the landmark generator takes of a segment (Zhong et al., CVPR 2023; released code)."""

import dataclasses

import jax
import numpy as np

from talkface_jax.data import transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import mel
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.iplap import references, segments
from talkface_jax.methods.iplap.references import WINDOW


@dataclasses.dataclass(frozen=True)
class MotionView:
    """Windows of five frames for the landmark generator; images are never decoded.

    A sample holds `mel` (5, 80, 16), `pose` (5, 74, 2), `content` (5, 57, 2), `ref_pose` (r, 74, 2)
    and `ref_content` (r, 57, 2), points normalised to the crop. The same mirroring, scale and shift
    apply to the window and to its references.

    Attributes:
      references: r.
      margin, smooth: of the crop box, as in `landmarks.boxes.crop_boxes`.
      flip: whether half of the training samples are mirrored.
      scale_jitter, shift_jitter: as in `data.transforms.draw_jitter`.
      mel_noise: as in `data.transforms.noisy_mel`; 0 for none.
    """

    references: int = 15
    margin: float = 0.2
    smooth: float = 12.0
    flip: bool = False
    scale_jitter: float = 0.0
    shift_jitter: float = 0.0
    mel_noise: float = 0.0
    name: str = "iplap/motion"
    window: int = WINDOW
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        shapes = {
            "mel": (self.window, mel.BANDS, mel.WINDOW_ROWS),
            "pose": (self.window, 74, 2),
            "content": (self.window, 57, 2),
            "ref_pose": (self.references, 74, 2),
            "ref_content": (self.references, 57, 2),
        }
        return batch_spec(batch_size, shapes)

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window; see the class."""
        light = segments.read(segment, self.margin, self.smooth)
        frames = np.arange(start, start + self.window)
        others = segments.draw(light, frames, self.references, rng, train=train)
        points = light.geometry.points[np.concatenate([frames, others])]
        sound = light.mel_windows(frames)
        if train:
            jitter = transforms.draw_jitter(
                rng,
                mirror=0.5 if self.flip else 0.0,
                scale=self.scale_jitter,
                shift=self.shift_jitter,
            )
            points = jitter(points, references.SCHEME)
            if self.mel_noise > 0:
                sound = transforms.noisy_mel(rng, sound, self.mel_noise)
        pose, content = references.split(points)
        return {
            "mel": sound,
            "pose": pose[: self.window],
            "content": content[: self.window],
            "ref_pose": pose[self.window :],
            "ref_content": content[self.window :],
        }
