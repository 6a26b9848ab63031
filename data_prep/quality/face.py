"""Measures of the face: size, sharpness, and whether it stays the same person."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from talkface_jax.landmarks import boxes, schemes
from talkface_jax.media.images import crop_resize
from talkface_jax.records import RECORD_SIZE, FaceTrack

# Detail is judged at this height of the face, which every usable clip reaches: what a higher
# resolution adds does not count.
_SHARPNESS_SIZE = 48
_DEVIATIONS = (0.8, 1.6, 3.2)
# Skin colours are read off a crop of this size, smoothed by so many of its pixels.
_COLOUR_SIZE = 64
_COLOUR_BLUR = 1.0
# Between two people of the synthetic set the median change is 12 of colour and 0.045 of shape;
# within its clips it is 1.6 and 0.005.
_COLOUR_UNIT = 4.0
_SHAPE_UNIT = 0.045
# Frames that are averaged on either side of a jump, and frames around it that tell what is usual.
_SIDE = 2
_AROUND = 6
# Parts that move with expression or at whose place the background shows.
_MOVING = ("eye_right", "eye_left", "brow_right", "brow_left", "lips", "oval")
# Points that expression hardly moves: eye corners, nose, forehead, temples.
_RIGID = (
    *(33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 48, 278, 115, 344, 94, 98, 327, 1, 2),
    *(8, 9, 151, 10, 109, 67, 103, 54, 162, 127, 234, 338, 297, 332, 284, 389, 356, 454),
)


@dataclasses.dataclass(frozen=True)
class FaceSample:
    """What is read off one frame.

    Attributes:
      sharpness: see `sharpness`.
      colours: 8-bit CIE Lab of the skin at mesh points off eyes, brows, lips and outline.
    """

    sharpness: float
    colours: Float32[np.ndarray, "k 3"]


def size(track: FaceTrack) -> float:
    """Median of the longer side of the box around the mesh in source pixels; 0 without a face."""
    if not np.any(track.valid):
        return 0.0
    tight = boxes.tight_boxes(track.landmarks[track.valid])
    return float(np.median(np.max(tight[:, 2:] - tight[:, :2], -1)))


def sample(
    crop: UInt8[np.ndarray, "256 256 3"],
    landmarks: Float32[np.ndarray, "478 3"],
    box: Float32[np.ndarray, "4"],
) -> FaceSample:
    """Read a frame: its crop, its landmarks and box in source pixels."""
    inside = boxes.to_box(landmarks, box)
    return FaceSample(
        sharpness=sharpness(crop, boxes.tight_boxes(inside) * RECORD_SIZE),
        colours=_colours(crop, inside[_skin(), :2]),
    )


def sharpness(image: UInt8[np.ndarray, "h w 3"], box: Float32[np.ndarray, "4"]) -> float:
    """Root of the energy of fine over coarse detail inside a face's tight box.

    The face is brought to a height of 48 pixels and split by Gaussians of deviation 0.8, 1.6 and
    3.2 pixels; the ratio of the two bands does not depend on contrast, and noise lies mostly above
    both. In focus it is 0.7 to 1.1; a Gaussian blur of 2 %, 3 % and 4 % of the face's height brings
    it to about 0.6, 0.5 and 0.45. 0 for an image without detail.
    """
    import cv2

    centre, half = (box[:2] + box[2:]) / 2, np.max(box[2:] - box[:2]) / 2
    square = np.concatenate([centre - half, centre + half])
    small = crop_resize(image, square, (_SHARPNESS_SIZE, _SHARPNESS_SIZE))
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, middle, coarse = (cv2.GaussianBlur(grey, (0, 0), s) for s in _DEVIATIONS)
    rim = _SHARPNESS_SIZE // 8
    bands = (fine - middle, middle - coarse)
    upper, lower = (float(np.mean(band[rim:-rim, rim:-rim] ** 2)) for band in bands)
    return float(np.sqrt(upper / lower)) if lower > 1e-3 else 0.0


def identity(
    track: FaceTrack, samples: Sequence[FaceSample], at: Int[np.ndarray, " s"]
) -> tuple[float, int]:
    """The largest sudden change of the person through a clip, and the frame where it happens.

    No weights that recognise faces are to be had, so two weak signs are joined, each in its unit,
    by their geometric mean:

    - The rigid points, after a similarity in space that takes position and pose out: root mean
      square difference of the two frames before and the two after, over the face's root mean
      square radius. As much as is usual within 6 frames is taken off: a turning head bends the
      mesh too, but not in one frame.
    - The skin's colours at the same mesh points (person, light, make-up): mean absolute difference
      in 8-bit Lab. The two samples before are compared with the two after and the nearest pair
      counts, so that a change must last.

    Measured on the synthetic set: over 1 for 93 of 100 cuts between two people, and for 25 of 100
    cuts between two clips of one person in different light; at most 0.6 within its clips and 0.9
    while a head swings through 90 degrees in a second. On the real clip of the tests, at 12 frames
    a second: over 1 for 89 of 90 cuts between its two people, at most 0.83 for each alone. A fade
    is not sudden and is not found.

    Args:
      track: the face.
      samples: what was read off some frames.
      at: which frames these are.

    Returns:
      The change (0 with fewer than four samples) and the first frame after it.
    """
    if len(samples) < 4:
        return 0.0, 0
    found = np.flatnonzero(track.valid)
    jumps = _jumps(_shapes(track.landmarks[found][:, list(_RIGID)]))
    places = np.searchsorted(found, at)
    colours = np.stack([s.colours for s in samples])
    largest, frame = 0.0, 0
    for i, colour in enumerate(_colour_changes(colours)):
        first = int(places[i + 1]) + 1
        between = jumps[first : int(places[i + 2]) + 1]
        change = float(np.sqrt(colour / _COLOUR_UNIT * between.max() / _SHAPE_UNIT))
        if change > largest:
            largest, frame = change, int(found[first + int(np.argmax(between))])
    return largest, frame


def _colour_changes(colours: Float32[np.ndarray, "s k 3"]) -> Float64[np.ndarray, " m"]:
    """For samples i, i+1 | i+2, i+3: the least difference of one before and one after the cut."""
    count = len(colours) - 3
    before, after = [colours[:count], colours[1 : count + 1]], [colours[2:-1], colours[3:]]
    pairs = [np.abs(b - a).mean((1, 2), dtype=np.float64) for b in before for a in after]
    return np.min(pairs, axis=0)


def _jumps(shapes: Float64[np.ndarray, "m r 3"]) -> Float64[np.ndarray, " m"]:
    """How much the shape changes at each frame, beyond what it does around that frame."""
    jumps = np.zeros(len(shapes))
    if len(shapes) < 2 * _SIDE:
        return jumps
    means = np.mean([shapes[i : len(shapes) - _SIDE + 1 + i] for i in range(_SIDE)], axis=0)
    apart = np.sqrt(np.mean(np.sum((means[_SIDE:] - means[:-_SIDE]) ** 2, -1), -1))
    padded = np.pad(apart, _AROUND, mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1)
    others = np.abs(np.arange(-_AROUND, _AROUND + 1)) > _SIDE
    usual = np.median(near[:, others], -1)
    jumps[_SIDE : _SIDE + len(apart)] = np.maximum(apart - usual, 0)
    return jumps


def _colours(crop: np.ndarray, points: np.ndarray) -> Float32[np.ndarray, "k 3"]:
    """Smoothed Lab colours of a crop at points relative to it."""
    import cv2

    small = cv2.resize(crop, (_COLOUR_SIZE, _COLOUR_SIZE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), _COLOUR_BLUR), cv2.COLOR_RGB2LAB)
    at = (points * _COLOUR_SIZE - 0.5).astype(np.float32)[None]
    found = cv2.remap(
        lab.astype(np.float32),
        at[..., 0],
        at[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return found[0]


@functools.cache
def _skin() -> np.ndarray:
    """Mesh points off the eyes, brows, lips and outline, without the irises."""
    mesh = schemes.get_scheme("mesh478")
    moving = np.concatenate([mesh.groups[part] for part in _MOVING])
    return np.setdiff1d(np.arange(468), mesh.indices[moving])


def _shapes(points: Float32[np.ndarray, "m r 3"]) -> Float64[np.ndarray, "m r 3"]:
    """The points aligned to their common mean by similarities in space; mean square radius 1."""
    centred = points.astype(np.float64) - points.mean(1, keepdims=True, dtype=np.float64)
    mean = centred[0]
    for _ in range(2):
        mean = mean / np.sqrt(np.mean(np.sum(mean**2, -1)))
        aligned = _onto(centred, mean)
        mean = aligned.mean(0)
    return aligned


def _onto(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Centred points rotated and scaled onto a target (Umeyama 1991), without reflection."""
    u, power, v = np.linalg.svd(np.swapaxes(points, 1, 2) @ target)
    sign = np.ones_like(power)
    sign[:, 2] = np.sign(np.linalg.det(u @ v))
    scale = np.sum(power * sign, -1) / np.sum(points**2, (1, 2))
    return scale[:, None, None] * (points @ ((u * sign[:, None]) @ v))
