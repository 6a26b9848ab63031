"""Losses on landmark sequences (IP-LAP section 3.2; VOCA, Cudeiro et al., CVPR 2019, section 4)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from talkface_jax.losses.terms import per_item_mean


def landmark_l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute coordinate difference: (b, t, n, d) twice -> (b,)."""
    return per_item_mean(jnp.abs(prediction - target))


def landmark_velocity(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean over time of the L2 norm, over all points and coordinates, of the velocity error.

    (b, t, n, d) twice, t at least 2 -> (b,). The released weights were trained with a slip that let
    this term see only 3 of the 57 points; here it sees all, as in the paper.
    """
    error = prediction - target
    change = (error[:, 1:] - error[:, :-1]).reshape(*error.shape[:1], error.shape[1] - 1, -1)
    squares = jnp.sum(jnp.square(change), -1)
    # The root has no finite slope at 0, where a perfect frame would turn every gradient into NaN.
    positive = squares > 0
    return jnp.mean(jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0), -1)


def landmark_mse(
    prediction: jax.Array, target: jax.Array, *, weight: Float32[np.ndarray, " n"] | None = None
) -> jax.Array:
    """Mean squared coordinate difference, weighted by point: (b, t, n, d) twice -> (b,).

    `weight` (n,) counts relatively, its mean is taken out; None for equal weights.
    """
    squares = jnp.square(prediction - target)
    if weight is not None:
        squares = squares * jnp.asarray(weight / weight.mean(), squares.dtype)[:, None]
    return per_item_mean(squares)


def landmark_velocity_mse(
    prediction: jax.Array, target: jax.Array, *, weight: Float32[np.ndarray, " n"] | None = None
) -> jax.Array:
    """`landmark_mse` of the differences between consecutive frames, t at least 2."""
    return landmark_mse(jnp.diff(prediction, axis=1), jnp.diff(target, axis=1), weight=weight)


def seen_mse(prediction: jax.Array, target: jax.Array, *, seen: jax.Array) -> jax.Array:
    """Mean squared coordinate difference of the points that count: (b, t, n, d) twice and (b, t, n)
    of 0 or 1 -> (b,); 0 where none counts."""
    squares = jnp.square(prediction - target).mean(-1) * seen
    return squares.sum((1, 2)) / jnp.maximum(seen.sum((1, 2)), 1)
