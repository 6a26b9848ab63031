"""Which frames stand as references, and the two halves of the 131 points."""

import numpy as np
from jaxtyping import Float, Float32

from talkface_jax.landmarks import measures
from talkface_jax.landmarks.boxes import CropGeometry, from_box
from talkface_jax.landmarks.references import spread
from talkface_jax.landmarks.schemes import get_scheme

__all__ = ["JAW", "SCHEME", "WINDOW", "join", "openness", "split", "spread"]
SCHEME = get_scheme("iplap131")
WINDOW = 5
"""Frames that the landmark generator predicts at once, and sketches that the renderer sees."""
JAW = 17
"""Content points of the jaw; the lips follow."""


def openness(geometry: CropGeometry) -> Float[np.ndarray, " t"]:
    """Mouth opening of every frame, measured in source pixels (boxes are not square)."""
    return measures.mouth_opening(from_box(geometry.points, geometry.boxes), SCHEME)


def split(points: Float32[np.ndarray, "*b 131 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Pose points (…, 74, 2) and content points (…, 57, 2) of the 131."""
    return points[..., SCHEME.groups["pose"], :], points[..., SCHEME.groups["content"], :]


def join(
    pose: Float32[np.ndarray, "*b 74 2"], content: Float32[np.ndarray, "*b 57 2"]
) -> Float32[np.ndarray, "*b 131 2"]:
    """The inverse of `split`."""
    points = np.empty((*content.shape[:-2], len(SCHEME), 2), np.float32)
    points[..., SCHEME.groups["pose"], :] = pose
    points[..., SCHEME.groups["content"], :] = content
    return points
