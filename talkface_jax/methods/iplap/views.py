"""What IP-LAP's two stages take of a segment (Zhong et al., CVPR 2023; released code)."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from talkface_jax.data import transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.features import mel
from talkface_jax.landmarks import boxes
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.media.sketch import draw_sketch
from talkface_jax.methods.iplap import references
from talkface_jax.records import RECORD_SIZE, Segment

WINDOW = 5
"""Frames that the landmark generator predicts at once, and sketches that the renderer sees."""


@dataclasses.dataclass(frozen=True)
class _Light:
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
        return mel.mel_windows(self.mel, self.start + frames, first=self.first_row)


def _light(segment: Segment, *, margin: float, smooth: float) -> _Light:
    source = boxes.from_box(segment.landmarks, segment.box)
    geometry = boxes.crop_geometry(source, valid=segment.valid, margin=margin, smooth=smooth)
    sound, first_row = transforms.segment_sound(segment, hop=mel.HOP)
    return _Light(
        geometry=geometry,
        record_boxes=segment.box,
        valid=segment.valid,
        opening=references.openness(geometry),
        mel=mel.log_mel(sound),
        first_row=first_row,
        start=segment.start,
    )


def _read(reader: SegmentReader, margin: float, smooth: float) -> _Light:
    """The light part, cached; both stages share it where margin and smoothing agree."""
    return reader.derived(
        f"iplap-{mel.cache_key()}-{margin}-{smooth}",
        lambda segment: _light(segment, margin=margin, smooth=smooth),
    )


def _references(
    light: _Light, frames: np.ndarray, count: int, rng: np.random.Generator, *, train: bool
) -> np.ndarray:
    """Frames outside the window: random ones, or spread over lip openness when not training."""
    outside = transforms.frames_outside(light.valid, start=int(frames[0]), window=len(frames))
    if train:
        return transforms.draw_references(rng, outside, count)
    return references.spread(light.opening, valid=outside, count=count)


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
        return {
            key: jax.ShapeDtypeStruct((batch_size, *shape), np.float32)
            for key, shape in shapes.items()
        }

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window; see the class."""
        light = _read(segment, self.margin, self.smooth)
        frames = np.arange(start, start + self.window)
        others = _references(light, frames, self.references, rng, train=train)
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
        return {
            key: jax.ShapeDtypeStruct(
                (batch_size, *shape), np.uint8 if key in images else np.float32
            )
            for key, shape in (images | numbers).items()
        }

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """The middle frame of one window; see the class."""
        light = _read(segment, self.margin, self.smooth)
        frames = np.arange(start, start + self.window)
        middle = start + self.window // 2
        others = _references(light, frames, self.references, rng, train=train)
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
        self, segment: SegmentReader, light: _Light, frame: int
    ) -> UInt8[np.ndarray, "s s 3"]:
        """The crop of one frame, cut out of the record's wider crop."""
        corners = light.geometry.boxes[frame].reshape(2, 2)
        box = boxes.to_box(corners, light.record_boxes[frame]).reshape(4) * RECORD_SIZE
        return crop_resize(decode_jpeg(segment.frames[frame]), box, (self.size, self.size))

    def _sketches(self, light: _Light, frames: np.ndarray) -> UInt8[np.ndarray, "k s s 3"]:
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
