"""A flow field that carries every landmark of the target to its place in another picture.

Multilevel scattered-data interpolation (after Lee, Wolberg & Shin, IEEE TVCG 1997, with normalised
Gaussian kernels in place of B-splines): wide kernels move the face as a whole, each finer level
takes up what the ones before left at the points. Kernels are separable in x and y, so that a level
costs two small matrix products at any size. Lips and lids are close to each other and move apart:
points in between, along their lines, let the finest kernels be narrower than the points are spaced.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.geometry import PRECISION, apply_affine, fit_affine
from talkface_jax.ranges import ABOVE_0, AT_LEAST_0, ranged

_SCHEME = get_scheme("ibug68")
STEADY = np.concatenate(
    [
        _SCHEME.groups["jaw"][[0, 1, -2, -1]],
        _SCHEME.groups["nose"],
        _SCHEME.groups["eye_right"][[0, 3]],
        _SCHEME.groups["eye_left"][[0, 3]],
    ]
)
"""Bone, not muscle: both ends of the jaw line, the nose, and the corners of the eyes."""


_DIVISIONS = 3


def _lids_and_lips() -> np.ndarray:
    """(m, 68): all points, and those that divide each edge of the lids and lips; rows sum to 1."""
    groups = ("eye_right", "eye_left", "lips_outer", "lips_inner")
    members = [set(_SCHEME.groups[name].tolist()) for name in groups]
    rows = list(np.eye(len(_SCHEME), dtype=np.float32))
    for edge in _SCHEME.edges.tolist():
        if any(set(edge) <= points for points in members):
            for share in np.arange(1, _DIVISIONS) / _DIVISIONS:
                rows.append((1 - share) * rows[edge[0]] + share * rows[edge[1]])
    return np.stack(rows)


_CONTROL = _lids_and_lips()
# Positions of the points of the upper lids and of the upper lip's lower edge, and those below them.
_ABOVE = np.asarray([37, 38, 43, 44, 61, 62, 63])
_BELOW = np.asarray([41, 40, 47, 46, 67, 66, 65])


@dataclasses.dataclass(frozen=True)
class PointFlowConfig:
    """Kernels of the interpolation.

    Attributes:
      sigmas: deviation of the kernels of each level, in widths of the crop, wide ones first; the
        last is below half of `gap`.
      gap: closed lids and lips are taken to be so far apart in the target, in heights of the crop:
        where two lines coincide, no smooth field leads to the two places that they come from.
      lid_cover, lip_cover: where the target is more closed than the picture, lids and lips of the
        picture are taken to begin this share of their distance further out: what lies behind them
        must not peep out along the line.
      background: weight, at each level, of "moves with the head"; it wins far from all points.
    """

    sigmas: tuple[float, ...] = ranged((0.1, 0.05, 0.025, 0.0125, 0.006, 0.0035), ABOVE_0)
    gap: float = ranged(0.01, AT_LEAST_0)
    lid_cover: float = ranged(0.35, AT_LEAST_0)
    lip_cover: float = ranged(0.15, AT_LEAST_0)
    background: float = ranged(0.1, ABOVE_0)


DEFAULT_FLOW = PointFlowConfig()


@flax.struct.dataclass
class Pairs:
    """Further points (b, m, 2) of the target and of the picture, and how much each of them counts,
    (b, m): at 0 it is as if it were not there."""

    points: jax.Array
    source_points: jax.Array
    weight: jax.Array


def point_flow(
    points: jax.Array,
    source_points: jax.Array,
    *,
    size: int,
    config: PointFlowConfig,
    more: Pairs | None = None,
    head: jax.Array | None = None,
) -> jax.Array:
    """Dense flow from the target's points to those of the picture that is to be warped.

    Head motion is the affine map of points on bone; what the points move beyond it is interpolated.

    Args:
      points: (b, 68, 2) of scheme ibug68 in the target, [0, 1] over the crop.
      source_points: (b, 68, 2) in the picture.
      size: height and width of the crop in pixels.
      config: kernels.
      more: points besides, [0, 1] over the crop.
      head: another map of what is on no point, (b, 3, 2) for `geometry.apply_affine`.

    Returns:
      (b, size, size, 2) in pixels, x before y, for `models.warp.warp`; it leads to no place outside
      the picture.
    """
    points, source_points = (x.astype(jnp.float32) for x in (points, source_points))
    steady = points[:, STEADY], source_points[:, None, STEADY]
    maps = fit_affine(*steady) if head is None else head[:, None]
    source_points = _divided(_covering(source_points, points, config))
    points = _divided(_parted(points, config.gap))
    counts = jnp.ones_like(points[..., 0])
    if more is not None:
        points = jnp.concatenate([points, more.points], 1)
        source_points = jnp.concatenate([source_points, more.source_points], 1)
        counts = jnp.concatenate([counts, more.weight], 1)
    left = source_points - apply_affine(points, maps)[:, 0]
    centres = jnp.asarray((np.arange(size) + 0.5) / size, jnp.float32)
    base = jnp.stack(jnp.broadcast_arrays(centres[None, :], centres[:, None]), -1)
    flat = jnp.broadcast_to(base.reshape(1, -1, 2), (points.shape[0], size * size, 2))
    flow = apply_affine(flat, maps).reshape(-1, size, size, 2) - base
    for sigma in config.sigmas:
        across, down = (
            _kernel(centres - points[..., axis, None], sigma) for axis in (0, 1)
        )  # (b, n, size)
        across = across * counts[..., None]
        total = jnp.einsum("bnh,bnw->bhw", down, across, precision=PRECISION)
        moved = across[..., None] * left[:, :, None, :]
        level = jnp.einsum("bnh,bnwc->bhwc", down, moved, precision=PRECISION)
        flow = flow + level / (total + config.background)[..., None]
        left = left - _at_points(points, left, counts, sigma=sigma, background=config.background)
    inside = jnp.clip(base + flow, 0.5 / size, 1 - 0.5 / size)
    return size * (inside - base)


def _parted(points: jax.Array, gap: float) -> jax.Array:
    """The points with lids and lips at least `gap` apart."""
    above, below = points[:, _ABOVE, 1], points[:, _BELOW, 1]
    push = jnp.maximum(gap - (below - above), 0.0) / 2
    return points.at[:, _ABOVE, 1].add(-push).at[:, _BELOW, 1].add(push)


def _covering(source_points: jax.Array, points: jax.Array, config: PointFlowConfig) -> jax.Array:
    """The picture's points with lids and lips further apart, the more so the more they close."""
    distance = source_points[:, _BELOW, 1] - source_points[:, _ABOVE, 1]
    closing = distance - (points[:, _BELOW, 1] - points[:, _ABOVE, 1])
    is_lid = np.isin(_ABOVE, np.concatenate([_SCHEME.groups[e] for e in ("eye_right", "eye_left")]))
    push = np.where(is_lid, config.lid_cover, config.lip_cover) * jnp.clip(
        closing, 0.0, jnp.maximum(distance, 0.0)
    )
    return source_points.at[:, _ABOVE, 1].add(-push).at[:, _BELOW, 1].add(push)


def _divided(points: jax.Array) -> jax.Array:
    """(b, 68, 2) -> (b, m, 2), more of them along lids and lips."""
    return jnp.einsum("mn,bnc->bmc", _CONTROL, points, precision=PRECISION)


def _kernel(distance: jax.Array, sigma: float) -> jax.Array:
    return jnp.exp(-0.5 * jnp.square(distance / sigma))


def _at_points(
    points: jax.Array, values: jax.Array, counts: jax.Array, *, sigma: float, background: float
) -> jax.Array:
    """One level's field at the points themselves: (b, n, 2)."""
    difference = points[:, :, None] - points[:, None]
    weights = jnp.prod(_kernel(difference, sigma), -1) * counts[:, None]
    moved = jnp.einsum("bij,bjc->bic", weights, values, precision=PRECISION)
    return moved / (jnp.sum(weights, -1, keepdims=True) + background)
