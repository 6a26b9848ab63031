"""Puts a generated face crop back into its frame without a visible box.

Coordinates are continuous source pixels, as of `media.images.crop_resize`: pixel (i, j) covers
[j, j + 1) x [i, i + 1), and a box x0, y0, x1, y1 maps onto the whole crop.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_GRID = 64
_MIN_WEIGHT = 1e-3
_FAR = 8
"""Crops beyond which a point of a contour counts as that far away."""


@dataclasses.dataclass(frozen=True)
class PasteConfig:
    """How a crop is blended; lengths are fractions of the box's shorter side.

    Attributes:
      dilate: how far the mask reaches beyond the contour.
      feather: deviation of the Gaussian that softens the mask.
      border: width of the ramp that brings the mask to zero at the edge of the box.
      match_blur: deviation of the smoothing of the local colour correction.
      match_limit: largest local deviation from the median correction, in levels.
    """

    dilate: float = 0.015
    feather: float = 0.03
    border: float = 0.06
    match_blur: float = 0.15
    match_limit: float = 16.0


@dataclasses.dataclass(frozen=True)
class Patch:
    """What a renderer made for one frame.

    Attributes:
      image: generated face, RGB in 0..255 (uint8 or float), of any size; it spans `box`.
      box: x0, y0, x1, y1 in source pixels; it may reach beyond the frame.
      contour: points whose convex hull is to be replaced, in source pixels.
    """

    image: UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
    box: Float32[np.ndarray, " 4"]
    contour: Float32[np.ndarray, "m 2"]


@dataclasses.dataclass(frozen=True)
class _Region:
    """Integer pixel rows and columns of a frame that a box touches."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left


def face_mask(
    box: Float32[np.ndarray, " 4"],
    contour: Float32[np.ndarray, "m 2"],
    *,
    size: tuple[int, int],
    config: PasteConfig = PasteConfig(),
) -> Float32[np.ndarray, "h w"]:
    """Opacity of a pasted crop in [0, 1] over a grid of `size` (h, w) that spans the box.

    It is the convex hull of `contour` (source pixels), dilated, softened, and zero at the box's
    edge.
    """
    height, width = size
    x0, y0, x1, y1 = (float(value) for value in box)
    scale = np.array([width / (x1 - x0), height / (y1 - y0)], np.float32)
    points = (np.asarray(contour, np.float32) - np.array([x0, y0], np.float32)) * scale - 0.5
    # Points far outside would leave the range of OpenCV's coordinates.
    points = np.clip(points, -_FAR * max(size), _FAR * max(size))
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    mask = np.zeros(size, np.float32)
    shift = 4
    cv2.fillConvexPoly(
        mask, np.round(hull * (1 << shift)).astype(np.int32), 1.0, lineType=cv2.LINE_8, shift=shift
    )
    side = min(height, width)
    radius = max(1, round(config.dilate * side))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    sigma = max(0.5, config.feather * side)
    mask = cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), sigma)
    return mask * _border_ramp(size, max(1.0, config.border * side))


def paste(
    frame: UInt8[np.ndarray, "h w 3"],
    *,
    patch: Patch,
    config: PasteConfig = PasteConfig(),
) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with the generated crop blended in where the face is.

    Args:
      frame: source frame, RGB.
      patch: the generated face.
      config: widths of the transitions.

    Returns:
      A new frame. Pixels where the mask is zero are those of `frame`, bit for bit.
    """
    box = patch.box
    region = _region(box, frame.shape[:2])
    if region is None:
        return frame.copy()
    crop = np.ascontiguousarray(patch.image, np.float32)
    height, width = crop.shape[:2]
    mask = face_mask(box, patch.contour, size=(height, width), config=config)
    rows = slice(region.top, region.bottom)
    columns = slice(region.left, region.right)
    target = frame[rows, columns].astype(np.float32)
    correction = _colour_correction(crop, target, mask=mask, box=box, region=region, config=config)
    face = _to_frame(crop + correction, box=box, region=region)
    alpha = _to_frame(mask, box=box, region=region)[..., None]
    blended = target + alpha * (face - target)
    result = frame.copy()
    touched = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    result[rows, columns] = np.where(alpha > 0, touched, frame[rows, columns])
    return result


def _region(box: np.ndarray, size: tuple[int, int]) -> _Region | None:
    x0, y0, x1, y1 = (float(value) for value in box)
    top, left = max(0, int(np.floor(y0))), max(0, int(np.floor(x0)))
    bottom, right = min(size[0], int(np.ceil(y1))), min(size[1], int(np.ceil(x1)))
    if top >= bottom or left >= right:
        return None
    return _Region(top, bottom, left, right)


def _border_ramp(size: tuple[int, int], width: float) -> np.ndarray:
    def ramp(length: int) -> np.ndarray:
        position = np.arange(length, dtype=np.float32)
        edge = np.minimum(position, length - 1 - position) / width
        return np.clip(edge, 0.0, 1.0)

    return ramp(size[0])[:, None] * ramp(size[1])[None, :]


def _matrix(source: tuple[int, int], *, box: np.ndarray, region: _Region) -> np.ndarray:
    """Affine map from pixel indices of the region to pixel indices of the crop."""
    x0, y0, x1, y1 = (float(value) for value in box)
    sx, sy = source[1] / (x1 - x0), source[0] / (y1 - y0)
    return np.array(
        [
            [sx, 0.0, (region.left + 0.5 - x0) * sx - 0.5],
            [0.0, sy, (region.top + 0.5 - y0) * sy - 0.5],
        ],
        np.float64,
    )


def _to_frame(image: np.ndarray, *, box: np.ndarray, region: _Region) -> np.ndarray:
    height, width = region.size
    # Linear sampling blurs what is hardly smaller; of what is much smaller, cubic would alias.
    fine = image.shape[1] < 2 * (box[2] - box[0])
    inner = cv2.INTER_CUBIC if fine and image.ndim == 3 else cv2.INTER_LINEAR
    return cv2.warpAffine(
        image,
        _matrix(image.shape[:2], box=box, region=region),
        (width, height),
        flags=inner | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _colour_correction(
    crop: np.ndarray,
    target: np.ndarray,
    *,
    mask: np.ndarray,
    box: np.ndarray,
    region: _Region,
    config: PasteConfig,
) -> np.ndarray:
    """What to add to the crop so that its colours continue those around it, smooth over the crop.

    Differences are taken where the mask falls off, so the mouth itself, which is meant to differ,
    has no say. The median is trusted fully; local deviations from it are limited, for a jaw that
    moved shows background where skin was.
    """
    forward = np.vstack([_matrix(crop.shape[:2], box=box, region=region), [0.0, 0.0, 1.0]])
    back = np.linalg.inv(forward)[:2]
    height, width = crop.shape[:2]
    source = cv2.warpAffine(
        target, back, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    inside = cv2.warpAffine(
        np.ones(target.shape[:2], np.float32),
        back,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    weight = 4.0 * mask * (1.0 - mask) * (inside > 0.999)
    if weight.sum() < _MIN_WEIGHT * weight.size:
        return np.zeros_like(crop)
    small = (_GRID, _GRID)
    weight = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
    difference = cv2.resize(source - crop, small, interpolation=cv2.INTER_AREA)
    median = np.median(difference[weight > 0.25 * weight.max()], axis=0).astype(np.float32)
    local = np.clip(difference - median, -config.match_limit, config.match_limit)
    sigma = config.match_blur * _GRID
    total = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + _MIN_WEIGHT
    smooth = cv2.GaussianBlur(local * weight[..., None], (0, 0), sigma) / total
    return cv2.resize(smooth + median, (width, height), interpolation=cv2.INTER_LINEAR)
