"""A face of one frame moved onto the head pose of another; used alike by training and synthesis."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Float32, UInt8

from talkface_jax.landmarks import align
from talkface_jax.landmarks.schemes import get_scheme

_IPLAP = get_scheme("iplap131")
RIGID = _IPLAP.indices[_IPLAP.groups["pose"]]
"""Mesh points that follow the head: those by which the static-mouth baseline follows it."""


@dataclasses.dataclass(frozen=True)
class AlignedFace:
    """A crop on another's pose.

    Attributes:
      image: RGB, the whole crop.
      points: [0, 1] over the crop.
    """

    image: UInt8[np.ndarray, "s s 3"]
    points: Float32[np.ndarray, "n 2"]


def align_face(
    image: UInt8[np.ndarray, "h w 3"],
    *,
    points: Float[np.ndarray, "n 2"],
    rigid: Float[np.ndarray, "k 2"],
    target_rigid: Float[np.ndarray, "k 2"],
    size: int,
) -> AlignedFace:
    """The crop of `size` x `size` pixels in which the face lies as the target's does in its own.

    One affine map, fitted on rigid points. Where the crop shows more than the image, the image's
    border is repeated.

    Args:
      image: the frame to take the face from.
      points: landmarks in it that move along, in its pixels.
      rigid: its mesh points `RIGID`, in its pixels.
      target_rigid: those of the target, [0, 1] over the target's crop.
      size: height and width of the crop.

    Raises:
      numpy.linalg.LinAlgError: the rigid points lie on one line.
    """
    forward = align.fit_affine(rigid, np.asarray(target_rigid, np.float64) * size)
    moved = align.apply_affine(np.asarray(points, np.float64), forward) / size
    linear = np.linalg.inv(forward[:2])
    back = np.concatenate([linear, -forward[2:] @ linear])
    return AlignedFace(_read(image, back, size), moved.astype(np.float32))


def _read(image: np.ndarray, back: np.ndarray, size: int) -> np.ndarray:
    """The crop whose point p is the image's at [p, 1] @ back, bilinear; averaged where it shrinks.

    Points are continuous pixels, as in `media.images`.
    """
    import cv2

    # Pixels of the image that one of the crop covers, in the direction where they are most.
    shrunk = np.linalg.norm(back[:2], 2)
    finer = max(1, math.ceil(shrunk - 0.25))
    step = back[:2] / finer
    # OpenCV counts pixel centres as integers.
    first = np.array([0.5, 0.5]) @ step + back[2] - 0.5
    crop = cv2.warpAffine(
        image,
        np.column_stack([step.T, first]),
        (size * finer, size * finer),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if finer > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return crop
