"""Losses on images and on maps over them."""

import jax
import jax.numpy as jnp

from talkface_jax.losses.terms import per_item_mean


def l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference per item: (b, …) twice -> (b,)."""
    return per_item_mean(jnp.abs(prediction - target))


def weighted_l1(prediction: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """As `l1`, with a weight per pixel that broadcasts to the images: Σ w·|Δ| / Σ w -> (b,).

    Every item needs some positive weight.
    """
    difference = jnp.abs(prediction - target)
    weight = jnp.broadcast_to(weight, difference.shape)
    return per_item_mean(weight * difference) / per_item_mean(weight)


def total_variation(field: jax.Array) -> jax.Array:
    """Mean absolute difference of neighbours, across plus down: (b, h, w, c) -> (b,).

    Of an attention map, or of a flow in pixels.
    """
    across = per_item_mean(jnp.abs(field[:, :, 1:] - field[:, :, :-1]))
    return across + per_item_mean(jnp.abs(field[:, 1:] - field[:, :-1]))
