"""Connectionist temporal classification (Graves et al., ICML 2006)."""

import jax
import jax.numpy as jnp
import optax


def ctc(logits: jax.Array, labels: jax.Array, *, blank: int) -> jax.Array:
    """-log p(labels | logits) for each character of the label.

    Args:
      logits: (b, m, classes).
      labels: (b, n), padded at the end with negative numbers; at least one character each.
      blank: class of the blank.

    Returns:
      (b,), float32; where a label cannot be said in m rows, a number in the tens of thousands.
    """
    padding = (labels < 0).astype(jnp.float32)
    rows = jnp.zeros(logits.shape[:2], jnp.float32)
    total = optax.ctc_loss(
        logits.astype(jnp.float32), rows, jnp.maximum(labels, 0), padding, blank_id=blank
    )
    return total / jnp.maximum(jnp.sum(1 - padding, -1), 1)
