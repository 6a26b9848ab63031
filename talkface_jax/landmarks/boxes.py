"""Crop boxes of a face over time, and coordinates relative to them.

A box is x0, y0, x1, y1 in pixels. Training and synthesis cut their crops with the same functions
and the
same margin, which is relative to the box: a margin in pixels (as released with IP-LAP) changes with
  the resolution, and a different one at inference makes lips shake.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import schemes

RECORD_MARGIN = 0.6
SMOOTH_FRAMES = 12.0


@dataclasses.dataclass(frozen=True)
class CropGeometry:
    """Where the face is cut out of each frame, and its points there.

    Attributes:
      boxes: crop boxes in source pixels.
      points: the scheme's points normalised to the boxes: [0, 1] over x and y.
    """

    boxes: Float32[np.ndarray, "t 4"]
    points: Float32[np.ndarray, "t n d"]


def tight_boxes(points: Float[np.ndarray, "t n d"]) -> Float32[np.ndarray, "t 4"]:
    """The smallest box around each frame's points."""
    flat = points[..., :2]
    return np.concatenate([flat.min(-2), flat.max(-2)], -1).astype(np.float32)


def crop_boxes(
    points: Float[np.ndarray, "t n d"],
    *,
    valid: Bool[np.ndarray, " t"],
    margin: float = 0.2,
    smooth: float = SMOOTH_FRAMES,
) -> Float32[np.ndarray, "t 4"]:
    """Crop boxes around the points: size * (1 + margin), smoothed over time.

    Frames without a face take the box interpolated between their neighbours. Centre and size are
    smoothed by a Gaussian of deviation `smooth` frames (0: not at all), the first and last values
    held.

    Raises:
      FaceError: no frame is valid.
    """
    if not np.any(valid):
        raise FaceError("there is no frame with a face, so nothing to crop; give other footage")
    tight = tight_boxes(points).astype(np.float64)
    centre, size = (tight[:, :2] + tight[:, 2:]) / 2, tight[:, 2:] - tight[:, :2]
    track = steady(np.concatenate([centre, size], -1), valid=valid, smooth=smooth)
    half = track[:, 2:] * (1 + margin) / 2
    return np.concatenate([track[:, :2] - half, track[:, :2] + half], -1).astype(np.float32)


def record_boxes(
    points: Float[np.ndarray, "t n d"], *, valid: Bool[np.ndarray, " t"], size: tuple[int, int]
) -> Float32[np.ndarray, "t 4"]:
    """The square, wide boxes that are stored in records: margin 0.6 over the whole mesh, smoothed.

    A box may reach past the frame; the crop repeats the border there. `size` is the height and
    width of the
    frames: with no valid frame at all, the box is the largest square at their centre.
    """
    if not np.any(valid):
        height, width = size
        half = min(height, width) / 2
        box = [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half]
        return np.tile(np.asarray(box, np.float32), (len(points), 1))
    boxes = crop_boxes(points, valid=valid, margin=RECORD_MARGIN).astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], -1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], -1).astype(np.float32)


def to_box(
    points: Float[np.ndarray, "*b n d"], boxes: Float[np.ndarray, "*b 4"]
) -> Float32[np.ndarray, "*b n d"]:
    """Points in pixels -> relative to each frame's box: x and y in [0, 1], z in the unit of x."""
    origin, unit = _frame(boxes, points.shape[-1])
    return ((points - origin) / unit).astype(np.float32)


def from_box(
    points: Float[np.ndarray, "*b n d"], boxes: Float[np.ndarray, "*b 4"]
) -> Float32[np.ndarray, "*b n d"]:
    """The inverse of `to_box`."""
    origin, unit = _frame(boxes, points.shape[-1])
    return (points * unit + origin).astype(np.float32)


def crop_geometry(
    landmarks: Float[np.ndarray, "t 478 3"],
    *,
    valid: Bool[np.ndarray, " t"],
    scheme: str = "iplap131",
    margin: float = 0.2,
    smooth: float = SMOOTH_FRAMES,
) -> CropGeometry:
    """Crop boxes of a track and the scheme's points in them; used alike by training and synthesis.

    `landmarks` are in source pixels. Points of frames without a face are meaningless.

    Raises:
      FaceError: no frame is valid.
    """
    points = schemes.select(landmarks, schemes.get_scheme(scheme))
    boxes = crop_boxes(points, valid=valid, margin=margin, smooth=smooth)
    return CropGeometry(boxes=boxes, points=to_box(points, boxes))


def steady(
    values: Float[np.ndarray, "t k"],
    *,
    valid: Bool[np.ndarray, " t"],
    smooth: float = SMOOTH_FRAMES,
) -> Float[np.ndarray, "t k"]:
    """Columns over time as the crop boxes' are: gaps interpolated, then smoothed by a Gaussian."""
    return _smooth(_filled(values, valid), smooth)


def _frame(boxes: np.ndarray, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin and unit of the box coordinates, broadcastable over points."""
    boxes = np.asarray(boxes, np.float64)[..., None, :]
    extent = boxes[..., 2:] - boxes[..., :2]
    if dims == 2:
        return boxes[..., :2], extent
    origin = np.concatenate([boxes[..., :2], np.zeros_like(boxes[..., :1])], -1)
    return origin, np.concatenate([extent, extent[..., :1]], -1)


def _filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Rows of invalid frames interpolated from the valid ones, held at the ends."""
    known = np.flatnonzero(valid)
    at = np.arange(len(values))
    return np.stack([np.interp(at, known, column[known]) for column in values.T], -1)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    if sigma <= 0 or len(values) == 1:
        return values
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], -1)
