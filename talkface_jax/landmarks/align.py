"""Least-squares alignment of point sets, and the static-mouth baseline.

A map is a (3, 2) matrix M acting on rows: [x, y, 1] @ M.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64


@dataclasses.dataclass(frozen=True)
class Procrustes:
    """Result of `procrustes`.

    Attributes:
      mean: mean shape, centred at the origin, root mean square distance of its points from there 1.
      aligned: the shapes mapped onto it by similarities.
      maps: those similarities.
    """

    mean: Float64[np.ndarray, "n 2"]
    aligned: Float64[np.ndarray, "m n 2"]
    maps: Float64[np.ndarray, "m 3 2"]


def apply_affine(
    points: Float[np.ndarray, "*b n 2"], maps: Float[np.ndarray, "*b 3 2"]
) -> Float[np.ndarray, "*b n 2"]:
    """Maps the points; the type of `points` is kept."""
    mapped = points @ maps[..., :2, :] + maps[..., 2:, :]
    return mapped.astype(points.dtype)


def fit_affine(
    source: Float[np.ndarray, "*b n 2"], target: Float[np.ndarray, "*b n 2"]
) -> Float64[np.ndarray, "*b 3 2"]:
    """The affine map of `source` nearest to `target` (least squares); leading axes broadcast.

    Raises:
      numpy.linalg.LinAlgError: the source points lie on one line.
    """
    a, b = _centred(source), _centred(target)
    moved = np.swapaxes(a, -1, -2)
    linear = np.linalg.solve(moved @ a, moved @ b)
    return _with_shift(linear, source, target)


def fit_similarity(
    source: Float[np.ndarray, "*b n 2"], target: Float[np.ndarray, "*b n 2"]
) -> Float64[np.ndarray, "*b 3 2"]:
    """The rotation, scale and shift of `source` nearest to `target`; leading axes broadcast.

    No reflection (Umeyama 1991; in the plane it has this closed form).
    """
    a, b = _centred(source), _centred(target)
    power = np.sum(a * a, (-1, -2))
    power = np.where(power > 0, power, 1.0)
    along = np.sum(a * b, (-1, -2)) / power
    across = np.sum(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], -1) / power
    linear = np.stack([np.stack([along, across], -1), np.stack([-across, along], -1)], -2)
    return _with_shift(linear, source, target)


def procrustes(shapes: Float[np.ndarray, "m n 2"], *, iterations: int = 10) -> Procrustes:
    """Generalised Procrustes analysis: all shapes aligned by similarities to their common mean.

    The mean keeps the orientation of the first shape.
    """
    mean = _unit(np.asarray(shapes[0], np.float64))
    for _ in range(iterations):
        maps = fit_similarity(shapes, mean)
        new = _unit(apply_affine(np.asarray(shapes, np.float64), maps).mean(0))
        mean = apply_affine(new, fit_similarity(new, _unit(np.asarray(shapes[0], np.float64))))
        mean = _unit(mean)
    maps = fit_similarity(shapes, mean)
    return Procrustes(mean, apply_affine(np.asarray(shapes, np.float64), maps), maps)


def static_mouth(
    reference_pose: Float[np.ndarray, "r p 2"],
    reference_content: Float[np.ndarray, "r c 2"],
    pose: Float[np.ndarray, "t p 2"],
) -> Float32[np.ndarray, "t c 2"]:
    """The mean reference, affinely aligned to each frame by its pose points: a still mouth."""
    maps = fit_affine(reference_pose.mean(0), pose)
    return apply_affine(reference_content.mean(0), maps).astype(np.float32)


def _centred(points: np.ndarray) -> np.ndarray:
    """In double precision, the centroid at the origin."""
    points = np.asarray(points, np.float64)
    return points - points.mean(-2, keepdims=True)


def _with_shift(linear: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The linear map with the shift that takes the one centroid to the other."""
    at, goal = (np.mean(points, -2, dtype=np.float64, keepdims=True) for points in (source, target))
    shift = goal - at @ linear
    lead = np.broadcast_shapes(linear.shape[:-2], shift.shape[:-2])
    return np.concatenate(
        [np.broadcast_to(linear, (*lead, 2, 2)), np.broadcast_to(shift, (*lead, 1, 2))], -2
    )


def _unit(shape: np.ndarray) -> np.ndarray:
    centred = _centred(shape)
    return centred / np.sqrt(np.mean(np.sum(centred**2, -1)))
