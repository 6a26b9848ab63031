"""What keeps an attention map from saturating (GANimation; Pumarola et al., ECCV 2018), beside
`pixel.total_variation`, which keeps it from fraying."""

import jax

from talkface_jax.losses.terms import per_item_mean


def mean_attention(attention: jax.Array) -> jax.Array:
    """Mean of the map (b, h, w, 1) per item -> (b,): its cost keeps the identity's own pixels."""
    return per_item_mean(attention)
