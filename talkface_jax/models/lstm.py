"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gates: Gers et al. 2000)."""

import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import widen

State = tuple[jax.Array, jax.Array]
"""Cell, in float32, and hidden state, both (b, width)."""


def lstm(gates: jax.Array, recurrent: jax.Array, start: State) -> jax.Array:
    """The hidden states of one layer.

    Args:
      gates: (b, t, 4·width), what the input gives to the input gate, the forget gate, the new
        content and the output gate, biases included.
      recurrent: (width, 4·width), what the hidden state gives to them.
      start: the state before the first row.

    Returns:
      (b, t, width) in the number format of `gates`; the cell stays float32.
    """

    def step(state: State, gates: jax.Array) -> tuple[State, jax.Array]:
        cell, hidden = state
        fed = widen(gates + hidden @ recurrent)
        take, keep, new, show = jnp.split(fed, 4, -1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(take) * jnp.tanh(new)
        hidden = (jax.nn.sigmoid(show) * jnp.tanh(cell)).astype(gates.dtype)
        return (cell, hidden), hidden

    _, states = jax.lax.scan(step, start, gates.swapaxes(0, 1))
    return states.swapaxes(0, 1)
