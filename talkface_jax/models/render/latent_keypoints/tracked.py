"""What tracked keypoints tell beyond what any do: where they are known to lie on a face.

Ours: for networks too small, or trained too shortly, to find the motion between keypoints.
"""

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.models.render.point_flow import Pairs, PointFlowConfig, point_flow

SCHEME = get_scheme("ibug78")
"""Whose points tracked keypoints are, x before y before z: in [-1, 1] over the picture, z alike."""
EDGE = 0.12
"""Of the picture's size: how far from its edge motion is held back."""
_FACE = 68
_EYES = ("right", "left")
_SEEN = np.array([0, 1, 3])
"""Of an iris: its middle and its two sides; lids hide what is above and below."""
# Of each eye: positions of its upper and of its lower lid.
_LIDS = {"right": ((37, 38), (41, 40)), "left": ((43, 44), (47, 46))}


def on_picture(keypoints: jax.Array) -> jax.Array:
    """Keypoints (b, k, 3) as points (b, k, 2), [0, 1] over the picture."""
    return (jnp.asarray(keypoints[..., :2], jnp.float32) + 1) / 2


def tracked_flow(
    driving: jax.Array, source: jax.Array, *, size: int, config: PointFlowConfig
) -> jax.Array:
    """Where every pixel comes from, by the keypoints alone: (b, size, size, 2), x before y, shifts
    of positions in [-1, 1].

    Irises move in the opening of the lids, the less the more these close. Towards the edge of the
    picture nothing moves, so that it can be put back where it was taken from.

    Args:
      driving, source: keypoints (b, 78, 3).
      size: height and width in pixels.
      config: kernels.
    """
    target, picture = on_picture(driving), on_picture(source)
    irises = np.concatenate([SCHEME.groups[f"iris_{side}"][_SEEN] for side in _EYES])
    more = Pairs(target[:, irises], picture[:, irises], _openness(target, picture))
    faces = (target[:, :_FACE], picture[:, :_FACE])
    flow = point_flow(*faces, size=size, config=config, more=more) * (2 / size)
    return flow * _within(size)[..., None]


def _within(size: int) -> np.ndarray:
    """(size, size): 0 at the edge, 1 from `EDGE` of the size on."""
    places = (np.arange(size, dtype=np.float32) + 0.5) / size
    ramp = np.clip(np.minimum(places, 1 - places) / EDGE, 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return smooth * smooth[:, None]


def _openness(target: jax.Array, picture: jax.Array) -> jax.Array:
    """How far the lids about each point of the irises are open, (b, 6): 1 is as in the picture."""

    def opening(points: jax.Array, side: str) -> jax.Array:
        above, below = (points[:, list(lid), 1].mean(-1) for lid in _LIDS[side])
        return jnp.maximum(below - above, 0.0)

    shares = []
    for side in _EYES:
        share = opening(target, side) / jnp.maximum(opening(picture, side), 1e-3)
        shares.append(jnp.repeat(jnp.clip(share, 0.0, 1.0)[:, None], len(_SEEN), 1))
    return jnp.concatenate(shares, 1)


def face_maps(keypoints: jax.Array, *, size: int) -> jax.Array:
    """Lines and areas of a face of tracked keypoints (b, 78, 3): (b, size, size, 9), see
    `landmark_maps.landmark_maps`."""
    return landmark_maps(on_picture(keypoints)[:, :_FACE], size=size)
