"""What a renderer that is given one picture takes of a segment: a frame, and another one as the
identity."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from talkface_jax.data import transforms
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.landmarks import boxes, measures
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.aligned import RIGID, AlignedFace, align_face
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.methods.base import batch_spec
from talkface_jax.records import RECORD_SIZE, Segment

_SCHEME = get_scheme("ibug68")
_CLOSED = 0.5
"""Eyes that are open less than this share of the segment's median are called closed."""


@dataclasses.dataclass(frozen=True)
class Light:
    """What the view needs of a segment besides its images, see `PortraitView.light`.

    `crops` are the crop boxes in pixels of the record's images, `points` (t, 68, 2) and `rigid`
    (t, k, 2) landmarks there; `crop_points` and `crop_rigid` the same in [0, 1] over the crops;
    `lips` and `eyes` how far they are open.
    """

    crops: Float32[np.ndarray, "t 4"]
    points: Float32[np.ndarray, "t 68 2"]
    rigid: Float32[np.ndarray, "t k 2"]
    crop_points: Float32[np.ndarray, "t 68 2"]
    crop_rigid: Float32[np.ndarray, "t k 2"]
    valid: Bool[np.ndarray, " t"]
    lips: Float[np.ndarray, " t"]
    eyes: Float[np.ndarray, " t"]

    def closed(self) -> Int[np.ndarray, " k"]:
        """Frames with closed eyes."""
        usual = np.median(self.eyes[self.valid])
        return np.flatnonzero(self.valid & (self.eyes < _CLOSED * usual))


def _light(segment: Segment, *, margin: float, smooth: float) -> Light:
    source = boxes.from_box(segment.landmarks, segment.box)
    geometry = boxes.crop_geometry(
        source, valid=segment.valid, scheme=_SCHEME.name, margin=margin, smooth=smooth
    )
    corners = boxes.to_box(geometry.boxes.reshape(-1, 2, 2), segment.box)
    in_record = segment.landmarks[..., :2] * np.float32(RECORD_SIZE)
    return Light(
        crops=corners.reshape(-1, 4) * RECORD_SIZE,
        points=in_record[:, _SCHEME.indices],
        rigid=in_record[:, RIGID],
        crop_points=geometry.points,
        crop_rigid=boxes.to_box(source[:, RIGID, :2], geometry.boxes),
        valid=segment.valid,
        lips=measures.mouth_opening(source[:, _SCHEME.indices], _SCHEME),
        eyes=measures.eye_opening(source),
    )


@dataclasses.dataclass(frozen=True)
class PortraitView:
    """Single frames of a face, each with another frame of the same segment; images as bytes.

    A sample holds `face` (s, s, 3), the target; `identity` (s, s, 3), the other frame; `points` and
    `identity_points` (68, 2) of each, [0, 1] over its crop. The identity is a random other frame in
    training, else the one that `landmarks.identity` chooses of the others. In a segment with one
    frame that shows a face it is the target itself.

    Attributes:
      size: s.
      margin, smooth: of the crop box, as in `landmarks.boxes.crop_boxes`.
      align: "affine" moves the identity onto the target's head pose, "none" gives its own crop.
      flip: whether half of the training samples that may be (`mirrors`) are mirrored.
      colour_jitter: largest change of a colour channel in training, as a share of it.
      closed_share: how often a training sample's target is replaced by a frame of the same segment
        with closed eyes, if it has one; they are rare, and the largest change to paint.
    """

    size: int = 256
    margin: float = 0.2
    smooth: float = 12.0
    align: Literal["affine", "none"] = "none"
    flip: bool = False
    colour_jitter: float = 0.0
    closed_share: float = 0.0
    name: str = "stages/portrait"
    window: int = 1
    faces: bool = True

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        image, points = (self.size, self.size, 3), (len(_SCHEME), 2)
        floats = {"points": points, "identity_points": points}
        return batch_spec(batch_size, floats, {"face": image, "identity": image})

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One frame; see the class."""
        light = self.light(segment)
        if train and self.closed_share and rng.random() < self.closed_share:
            closed = light.closed()
            start = int(rng.choice(closed)) if len(closed) else start
        picture = self.picture(segment, start, rng, train=train)
        identity = self._identity(picture, light, start)
        target = self.target(segment, start, picture)
        sample = {
            "face": target.image,
            "identity": identity.image,
            "points": target.points,
            "identity_points": identity.points,
            **self.beside((segment, start), picture),
        }
        return self._changed(sample, rng) if train else sample

    def light(self, segment: SegmentReader) -> Light:
        """Landmarks and crops of a segment, kept in its cache."""
        return segment.derived(
            f"portrait-{self.margin}-{self.smooth}",
            lambda segment: _light(segment, margin=self.margin, smooth=self.smooth),
        )

    def picture(
        self, segment: SegmentReader, frame: int, rng: np.random.Generator, *, train: bool
    ) -> tuple[SegmentReader, int]:
        """Where the identity of a target frame is taken: a segment, and a frame of it."""
        light = self.light(segment)
        others = transforms.frames_outside(light.valid, start=frame, window=1)
        if train:
            return segment, int(transforms.draw_references(rng, others, 1)[0])
        return segment, identity_frame(lips=light.lips, eyes=light.eyes, valid=others)

    def target(
        self, segment: SegmentReader, frame: int, picture: tuple[SegmentReader, int]
    ) -> AlignedFace:
        """The target's crop, and its points there; `picture` is where the identity is taken."""
        del picture
        light = self.light(segment)
        return AlignedFace(self._crop(segment, light, frame), light.crop_points[frame])

    def beside(
        self, target: tuple[SegmentReader, int], source: tuple[SegmentReader, int]
    ) -> dict[str, np.ndarray]:
        """What a sample holds besides, of the target's frame and of the identity's: nothing."""
        del target, source
        return {}

    def mirrors(self, sample: Mapping[str, np.ndarray]) -> bool:
        """Whether a sample says the same of a face and of its mirror image."""
        del sample
        return True

    def _crop(self, segment: SegmentReader, light: Light, frame: int) -> UInt8[np.ndarray, "s s 3"]:
        image = decode_jpeg(segment.frames[frame])
        return crop_resize(image, light.crops[frame], (self.size, self.size))

    def _identity(
        self, picture: tuple[SegmentReader, int], target: Light, target_frame: int
    ) -> AlignedFace:
        segment, frame = picture
        light = self.light(segment)
        if self.align == "none":
            return AlignedFace(self._crop(segment, light, frame), light.crop_points[frame])
        return align_face(
            decode_jpeg(segment.frames[frame]),
            points=light.points[frame],
            rigid=light.rigid[frame],
            target_rigid=target.crop_rigid[target_frame],
            size=self.size,
        )

    def _changed(
        self, sample: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The sample mirrored and recoloured, target and identity alike."""
        mirrored = self.flip and rng.random() < 0.5 and self.mirrors(sample)
        low, high = 1 - self.colour_jitter, 1 + self.colour_jitter
        # A table a channel: recolouring both pictures by arithmetic would cost more than the crops.
        levels = np.arange(256)[:, None] * rng.uniform(low, high, 3)
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        changed = dict(sample)
        for key in ("face", "identity"):
            image = sample[key][:, ::-1] if mirrored else sample[key]
            if self.colour_jitter:
                image = np.stack([table[:, c][image[..., c]] for c in range(3)], -1)
            changed[key] = np.ascontiguousarray(image)
        return changed | self.mirrored(sample) if mirrored else changed

    def mirrored(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The entries of a sample that its mirror image has otherwise, the pictures apart."""
        return {key: _SCHEME.mirror(sample[key]) for key in ("points", "identity_points")}
