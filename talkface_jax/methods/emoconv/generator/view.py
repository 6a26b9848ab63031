"""What the generator takes of a segment: two frames of one face, and their keypoints as tracked."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.landmarks import boxes, measures, pose
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.aligned import RIGID, AlignedFace
from talkface_jax.media.images import crop_resize, decode_jpeg
from talkface_jax.methods.base import batch_spec
from talkface_jax.methods.emoconv.generator.keypoints import SCHEME, keypoints_in, squares
from talkface_jax.methods.stages.portrait.view import Light, PortraitView
from talkface_jax.records import RECORD_SIZE, Segment

_FACE = get_scheme("ibug68")
Place = tuple[SegmentReader, int]
"""A frame."""


@dataclasses.dataclass(frozen=True)
class GeneratorView(PortraitView):
    """As `PortraitView`, both frames cut out by one square, that of the identity's record.

    So the camera stands still between them, as it does where the picture is put back into its
    frame. Where the target's record shows less, its border is repeated. A sample also holds
    `keypoints` and `identity_keypoints` (78, 3), x before y before z in [-1, 1] over the crop, of
    scheme ibug78; and `angles` (3,), the target's yaw, pitch and roll in degrees.

    Attributes:
      reach: side of the square, in sides of the record's.
    """

    reach: float = 1.0
    name: str = "emoconv/generator"

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        keypoints = (len(SCHEME), 3)
        more = {"keypoints": keypoints, "identity_keypoints": keypoints, "angles": (3,)}
        return super().spec(batch_size) | batch_spec(batch_size, more)

    def light(self, segment: SegmentReader) -> Light:
        """As in `PortraitView`."""
        return segment.derived(
            f"generator-{self.reach}", lambda segment: _light(segment, reach=self.reach)
        )

    def target(self, segment: SegmentReader, frame: int, picture: Place) -> AlignedFace:
        """The target as the identity's square shows it."""
        square = self._square(picture)
        corners = boxes.to_box(square.reshape(2, 2), _box(segment)[frame]) * RECORD_SIZE
        image = decode_jpeg(segment.frames[frame])
        points = boxes.to_box(self._points(segment)[frame], square)
        return AlignedFace(
            crop_resize(image, corners.reshape(4), (self.size, self.size)),
            points[: len(_FACE), :2],
        )

    def beside(self, target: Place, source: Place) -> dict[str, np.ndarray]:
        """Keypoints of both frames, and the target's angles."""
        square = self._square(source)
        (segment, frame), (other, other_frame) = target, source
        return {
            "keypoints": keypoints_in(self._points(segment)[frame], square),
            "identity_keypoints": keypoints_in(self._points(other)[other_frame], square),
            "angles": segment.derived("head-angles", _angles)[frame],
        }

    def mirrored(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As in `PortraitView`; keypoints and angles too."""
        changed = super().mirrored(sample)
        for key in ("keypoints", "identity_keypoints"):
            changed[key] = sample[key][SCHEME.flip] * np.array([-1, 1, 1], np.float32)
        changed["angles"] = sample["angles"] * np.array([-1, 1, -1], np.float32)
        return changed

    def _square(self, place: Place) -> Float32[np.ndarray, " 4"]:
        segment, frame = place
        return squares(_box(segment)[frame], self.reach)

    def _points(self, segment: SegmentReader) -> Float32[np.ndarray, "t 78 3"]:
        return segment.derived("ibug78", _in_pixels)


def _box(segment: SegmentReader) -> Float32[np.ndarray, "t 4"]:
    return segment.derived("box", lambda segment: segment.box)


def _in_pixels(segment: Segment) -> Float32[np.ndarray, "t 78 3"]:
    return boxes.from_box(segment.landmarks[:, SCHEME.indices], segment.box)


def _angles(segment: Segment) -> Float32[np.ndarray, "t 3"]:
    return pose.head_angles(segment.head).astype(np.float32)


def _light(segment: Segment, *, reach: float) -> Light:
    source = boxes.from_box(segment.landmarks, segment.box)
    square = squares(np.array([0, 0, 1, 1], np.float32), reach)
    flat = segment.landmarks[..., :2]
    in_crop = boxes.to_box(flat, np.tile(square, (len(segment), 1)))
    return Light(
        crops=np.tile(square * RECORD_SIZE, (len(segment), 1)),
        points=flat[:, _FACE.indices] * np.float32(RECORD_SIZE),
        rigid=flat[:, RIGID] * np.float32(RECORD_SIZE),
        crop_points=in_crop[:, _FACE.indices],
        crop_rigid=in_crop[:, RIGID],
        valid=segment.valid,
        lips=measures.mouth_opening(source[:, _FACE.indices], _FACE),
        eyes=measures.eye_opening(source),
    )
