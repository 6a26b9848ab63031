"""Losses on latent 3-D keypoints and on what makes them.

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), appendix A.2, with the constants of its
unofficial code.
"""

import jax
import jax.numpy as jnp

from talkface_jax.losses.terms import per_item_mean

APART = 0.1
"""Squared distance below which two keypoints are too close."""
DEPTH = 0.33
"""Mean of z that keypoints should have."""


def equivariance(keypoints: jax.Array, returned: jax.Array) -> jax.Array:
    """Mean |Δ| over x and y of keypoints (b, k, 3) and of those of a warped picture, brought back
    (b, k, 2) -> (b,)."""
    return per_item_mean(jnp.abs(keypoints[..., :2] - returned[..., :2]))


def spread(keypoints: jax.Array) -> jax.Array:
    """Σ over ordered pairs of different keypoints of max(0, `APART` - distance²), and
    |mean z - `DEPTH`|: (b, k, 3) -> (b,).

    The unofficial code also counts every keypoint against itself, a constant.
    """
    apart = keypoints[:, :, None] - keypoints[:, None]
    close = jnp.maximum(APART - jnp.sum(jnp.square(apart), -1), 0)
    others = 1 - jnp.eye(keypoints.shape[1], dtype=close.dtype)
    depth = jnp.abs(jnp.mean(keypoints[..., 2], 1) - DEPTH)
    return jnp.sum(close * others, (1, 2)) + depth


def head_pose(degrees: jax.Array, true: jax.Array) -> jax.Array:
    """Σ |Δ| of yaw, pitch and roll (b, 3) -> (b,)."""
    return jnp.sum(jnp.abs(degrees - true), -1)


def expression(offsets: jax.Array) -> jax.Array:
    """Σ |δ| of the expression's offsets (b, k, 3) -> (b,)."""
    return jnp.sum(jnp.abs(offsets), (1, 2))
