"""Where a face is cut out, and its tracked points as keypoints there; used alike by training and
synthesis."""

import numpy as np
from jaxtyping import Float32

from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme

SCHEME = get_scheme("ibug78")


def squares(box: Float32[np.ndarray, "*t 4"], reach: float) -> Float32[np.ndarray, "*t 4"]:
    """Boxes of `reach` times the sides about the same middles."""
    middle, half = (box[..., :2] + box[..., 2:]) / 2, (box[..., 2:] - box[..., :2]) / 2
    return np.concatenate([middle - reach * half, middle + reach * half], -1).astype(np.float32)


def keypoints_in(
    points: Float32[np.ndarray, "*t n 3"], box: Float32[np.ndarray, "*t 4"]
) -> Float32[np.ndarray, "*t n 3"]:
    """Points in pixels, x before y before z, as keypoints of a crop: in [-1, 1] over the box, z in
    the unit of x."""
    inside = 2 * boxes.to_box(points, box)
    return (inside - np.array([1, 1, 0])).astype(np.float32)
