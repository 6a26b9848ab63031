"""Scalar measures of a face, from its landmarks."""

import numpy as np
from jaxtyping import Float

from talkface_jax.landmarks.schemes import Scheme, get_scheme

_OUTER_EYE_CORNERS = (33, 263)
_INNER_LIPS = (13, 14)
_LID_MIDPOINTS = ((159, 145), (386, 374))


def eye_distance(points: Float[np.ndarray, "*b n d"], scheme: Scheme) -> Float[np.ndarray, "*b"]:
    """Distance of the outer eye corners (mesh 33 and 263) in the image plane."""
    return _distance(points, scheme, _OUTER_EYE_CORNERS)


def mouth_opening(points: Float[np.ndarray, "*b n d"], scheme: Scheme) -> Float[np.ndarray, "*b"]:
    """Distance of the inner lips' midpoints (mesh 13 and 14) over the eye distance.

    Meaningful in an isotropic unit: pixels, or coordinates of a square box. 0 where the eye corners
    coincide (frames without a face).
    """
    eyes = eye_distance(points, scheme)
    lips = _distance(points, scheme, _INNER_LIPS)
    return np.divide(lips, eyes, out=np.zeros_like(lips), where=eyes > 0)


def eye_opening(mesh: Float[np.ndarray, "*b 478 d"]) -> Float[np.ndarray, "*b"]:
    """Mean distance of the lids' midpoints of both eyes over the eye distance, from the full mesh.

    Meaningful in an isotropic unit; 0 where the eye corners coincide.
    """
    scheme = get_scheme("mesh478")
    eyes = eye_distance(mesh, scheme)
    lids = sum(_distance(mesh, scheme, pair) for pair in _LID_MIDPOINTS) / len(_LID_MIDPOINTS)
    return np.divide(lids, eyes, out=np.zeros_like(eyes), where=eyes > 0)


def _distance(points: np.ndarray, scheme: Scheme, pair: tuple[int, int]) -> np.ndarray:
    a, b = (points[..., scheme.position(mesh), :2] for mesh in pair)
    return np.linalg.norm(a - b, axis=-1)
