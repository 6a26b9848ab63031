"""Errors of recognised text, traceable: character error rate of CTC's best path."""

import jax
import jax.numpy as jnp

from talkface_jax.metrics.base import Average


def best_path(logits: jax.Array, *, blank: int) -> jax.Array:
    """CTC's greedy text: the best class of each row, repeats merged, blanks removed.

    Args:
      logits: (b, m, classes).
      blank: class of the blank.

    Returns:
      (b, m) class numbers, -1 behind the end.
    """
    best = jnp.argmax(logits, -1)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    kept = (best != before) & (best != blank)
    # A stable sort brings what is kept to the front, in its order.
    order = jnp.argsort(~kept, axis=-1, stable=True)
    moved = jnp.take_along_axis(jnp.where(kept, best, -1), order, -1)
    return moved.astype(jnp.int32)


def edit_distance(found: jax.Array, wanted: jax.Array) -> jax.Array:
    """Levenshtein's distance of two padded texts.

    Args:
      found: (b, m) numbers, negative behind the end.
      wanted: (b, n), likewise.

    Returns:
      (b,) insertions, deletions and substitutions, float32.
    """
    places = jnp.arange(wanted.shape[-1] + 1)

    def one(found: jax.Array, wanted: jax.Array) -> jax.Array:
        def step(row: jax.Array, character: jax.Array) -> tuple[jax.Array, None]:
            replaced = row[:-1] + (wanted != character)
            new = jnp.concatenate([row[:1] + 1, jnp.minimum(row[1:] + 1, replaced)])
            # Insertions run along the row: the least of all starts before.
            new = jax.lax.cummin(new - places) + places
            return jnp.where(character < 0, row, new), None

        row, _ = jax.lax.scan(step, places, found)
        return row[jnp.sum(wanted >= 0)]

    return jax.vmap(one)(found, wanted).astype(jnp.float32)


def character_error_rate(
    logits: jax.Array, labels: jax.Array, *, blank: int, mask: jax.Array
) -> Average:
    """Edit distance of the best path over the number of true characters, over a whole batch.

    Args:
      logits: (b, m, classes).
      labels: (b, n), negative behind the end.
      blank: class of the blank.
      mask: (b,) 0 for items that do not count.
    """
    errors = edit_distance(best_path(logits, blank=blank), labels)
    lengths = jnp.sum(labels >= 0, -1).astype(jnp.float32)
    return Average(total=jnp.sum(errors * mask), count=jnp.sum(lengths * mask))
