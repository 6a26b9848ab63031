"""What tracked keypoints tell beyond what any do: where they are known to lie on a face.

Ours: for networks too small, or trained too shortly, to find the motion between keypoints.
"""

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.geometry import PRECISION, fit_affine_in_space
from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.models.render.point_flow import STEADY, Pairs, PointFlowConfig, point_flow

SCHEME = get_scheme("ibug78")
"""Whose points tracked keypoints are, x before y before z: in [-1, 1] over the picture, z alike."""
EDGE = 0.12
"""Of the picture's size: how far from its edge motion is held back."""
_FACE = 68
_EYES = ("right", "left")


def _within_iris() -> np.ndarray:
    """(9, 5): of an iris, of which the middle and four points of its edge are tracked, the middle,
    both sides, and points further in; what is above and below is hidden by lids."""
    middle = np.eye(5, dtype=np.float32)[0]
    shares = ((1, 1.0), (3, 1.0), (1, 0.5), (3, 0.5), (2, 0.5), (4, 0.5), (2, 0.8), (4, 0.8))
    rows = [middle] + [middle + share * (np.eye(5)[k] - middle) for k, share in shares]
    return np.stack(rows).astype(np.float32)


_IRIS = _within_iris()
# How much a point of an open eye's iris counts, of the face's 1: lids are many points, and near.
_LOOKS = 8.0
# Of each eye: positions of its upper and of its lower lid.
_LIDS = {"right": ((37, 38), (41, 40)), "left": ((43, 44), (47, 46))}
_EARS, _CHIN, _BROWS = (0, 16), 8, np.arange(17, 27)
_ANGLES = np.linspace(0, np.pi, 9, dtype=np.float32)
_HIGHER = 1.2
# How much a point of the outline counts, of the face's 1: the brows are many and near.
_HOLDS = 3.0
# From the middle between the ears, of the way to the left one and of as much upwards.
_RING = (np.cos(_ANGLES), _HIGHER * np.sin(_ANGLES))
_TINY = 1e-12


def on_picture(keypoints: jax.Array) -> jax.Array:
    """Keypoints (b, k, 3) as points (b, k, 2), [0, 1] over the picture."""
    return (jnp.asarray(keypoints[..., :2], jnp.float32) + 1) / 2


def tracked_flow(
    driving: jax.Array, source: jax.Array, *, size: int, config: PointFlowConfig
) -> jax.Array:
    """Where every pixel comes from, by the keypoints alone: (b, size, size, 2), x before y, shifts
    of positions in [-1, 1].

    The head moves as its bone does in space, and what is around the face as what lies by the ears:
    where a head turns, its outline stays behind its face. Irises move in the opening of the lids,
    the less the more these close. Towards the edge of the picture nothing moves, so that it can be
    put back where it was taken from.

    Args:
      driving, source: keypoints (b, 78, 3).
      size: height and width in pixels.
      config: kernels.
    """
    target, picture = on_picture(driving), on_picture(source)
    space = jnp.concatenate([target, jnp.asarray(driving[..., 2:], jnp.float32) / 2], -1)
    turn, offset = fit_affine_in_space(space[:, STEADY], picture[:, STEADY])
    ring = _outline(space)
    behind = jnp.matmul(ring, turn, precision=PRECISION) + offset
    open_ = _LOOKS * jnp.square(_openness(target, picture))
    more = Pairs(
        jnp.concatenate([_irises(target), ring[..., :2]], 1),
        jnp.concatenate([_irises(picture), behind], 1),
        jnp.concatenate([open_, jnp.full_like(ring[..., 0], _HOLDS)], 1),
    )
    faces = (target[:, :_FACE], picture[:, :_FACE])
    head = _at_depth(turn, offset, ring[..., 2].mean(1))
    flow = point_flow(*faces, size=size, config=config, more=more, head=head) * (2 / size)
    return flow * _within(size)[..., None]


def _irises(points: jax.Array) -> jax.Array:
    """Points of both irises, (b, 18, 2)."""
    tracked = jnp.stack([points[:, SCHEME.groups[f"iris_{side}"]] for side in _EYES], 1)
    return jnp.matmul(_IRIS, tracked, precision=PRECISION).reshape(points.shape[0], -1, 2)


def _outline(space: jax.Array) -> jax.Array:
    """Where the outline of a head is about (b, 78, 3), from ear to ear over its top: (b, m, 3)."""
    right, left = space[:, _EARS[0]], space[:, _EARS[1]]
    middle, across = (right + left) / 2, (left - right) / 2
    up = space[:, _BROWS].mean(1) - space[:, _CHIN]
    # Points that are all in one place, as those of an example batch, have no directions.
    length = jnp.maximum(jnp.sum(across * across, -1, keepdims=True), _TINY)
    up = up - across * jnp.sum(up * across, -1, keepdims=True) / length
    up = up * jnp.sqrt(length / jnp.maximum(jnp.sum(up * up, -1, keepdims=True), _TINY))
    along, above = _RING
    return middle[:, None] + along[:, None] * across[:, None] + above[:, None] * up[:, None]


def _at_depth(turn: jax.Array, offset: jax.Array, depth: jax.Array) -> jax.Array:
    """The map of points in space as it is at a depth (b,), for `apply_affine`, (b, 3, 2)."""
    flat = turn[:, :2]
    moved = offset + flat.sum(1, keepdims=True) / 2 + depth[:, None, None] * turn[:, 2:]
    return jnp.concatenate([flat, moved], 1)


def _within(size: int) -> np.ndarray:
    """(size, size): 0 at the edge, 1 from `EDGE` of the size on."""
    places = (np.arange(size, dtype=np.float32) + 0.5) / size
    ramp = np.clip(np.minimum(places, 1 - places) / EDGE, 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return smooth * smooth[:, None]


def _openness(target: jax.Array, picture: jax.Array) -> jax.Array:
    """How far the lids about each point of `_irises` are open, (b, 18): 1 is as in the picture."""

    def opening(points: jax.Array, side: str) -> jax.Array:
        above, below = (points[:, list(lid), 1].mean(-1) for lid in _LIDS[side])
        return jnp.maximum(below - above, 0.0)

    shares = []
    for side in _EYES:
        share = opening(target, side) / jnp.maximum(opening(picture, side), 1e-3)
        shares.append(jnp.repeat(jnp.clip(share, 0.0, 1.0)[:, None], len(_IRIS), 1))
    return jnp.concatenate(shares, 1)


def face_maps(keypoints: jax.Array, *, size: int) -> jax.Array:
    """Lines and areas of a face of tracked keypoints (b, 78, 3): (b, size, size, 9), see
    `landmark_maps.landmark_maps`."""
    return landmark_maps(on_picture(keypoints)[:, :_FACE], size=size)
