"""Regularisers of an attention map, so that it neither saturates nor frays (GANimation; Pumarola et
al., ECCV 2018)."""

import jax
import jax.numpy as jnp

from talkface_jax.losses.terms import per_item_mean


def mean_attention(attention: jax.Array) -> jax.Array:
    """Mean of the map (b, h, w, 1) per item -> (b,): its cost keeps the identity's own pixels."""
    return per_item_mean(attention)


def total_variation(attention: jax.Array) -> jax.Array:
    """Mean absolute difference of neighbours, across plus down: (b, h, w, 1) -> (b,)."""
    across = per_item_mean(jnp.abs(attention[:, :, 1:] - attention[:, :, :-1]))
    return across + per_item_mean(jnp.abs(attention[:, 1:] - attention[:, :-1]))
