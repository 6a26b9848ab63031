"""Mergeable running values: (total, count) is merged, so that padding and batching never show."""

import flax.struct
import jax
import jax.numpy as jnp


def broadcast_mask(mask: jax.Array, values: jax.Array) -> jax.Array:
    """A mask over the leading axes of `values`, spread over all of its elements, float32."""
    extra = values.ndim - mask.ndim
    shaped = mask.reshape(mask.shape + (1,) * extra).astype(jnp.float32)
    return jnp.broadcast_to(shaped, values.shape)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the elements whose mask is 1.

    Args:
      values: any shape.
      mask: 0 or 1 over the leading axes of `values`, usually (b,).

    Returns:
      A float32 scalar; 0 where nothing is left to average.
    """
    weights = broadcast_mask(mask, values)
    kept = jnp.where(weights > 0, values.astype(jnp.float32), 0.0)
    return jnp.sum(kept) / jnp.maximum(jnp.sum(weights), 1.0)


class Average(flax.struct.PyTreeNode):
    """A running mean: the sum of the values seen, and how many they were (float32 scalars)."""

    total: jax.Array
    count: jax.Array

    @classmethod
    def empty(cls) -> "Average":
        """Before the first value."""
        return cls(total=jnp.zeros((), jnp.float32), count=jnp.zeros((), jnp.float32))

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array | None = None) -> "Average":
        """The elements of `values` that `mask` (0 or 1 over its leading axes) leaves.

        Those left out may be NaN.
        """
        weights = broadcast_mask(jnp.ones(()) if mask is None else mask, values)
        kept = jnp.where(weights > 0, values.astype(jnp.float32), 0.0)
        return cls(total=jnp.sum(kept), count=jnp.sum(weights))

    def merge(self, other: "Average") -> "Average":
        """The mean over both sets of values."""
        return Average(total=self.total + other.total, count=self.count + other.count)

    def compute(self) -> float:
        """The mean; NaN where nothing was averaged."""
        count = float(self.count)
        return float(self.total) / count if count else float("nan")
