"""How often the right emotion is read: per class, and merged over any number of batches."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int


class ClassAccuracy(flax.struct.PyTreeNode):
    """Accuracy in which every class that occurs counts alike (balanced accuracy, mean recall).

    `right` and `count` are (k,) by true class, float32.
    """

    right: jax.Array
    count: jax.Array

    @classmethod
    def of(
        cls, found: jax.Array, true: jax.Array, classes: int, *, mask: jax.Array | None = None
    ) -> "ClassAccuracy":
        """Of classes found and true, (b,) each; `mask` (b,) is 0 for items that do not count.

        A negative true class is none, and does not count either.
        """
        weights = jax.nn.one_hot(true, classes, dtype=jnp.float32)
        if mask is not None:
            weights = weights * mask.astype(jnp.float32)[:, None]
        right = (found == true).astype(jnp.float32)[:, None]
        return cls(right=jnp.sum(weights * right, 0), count=jnp.sum(weights, 0))

    def merge(self, other: "ClassAccuracy") -> "ClassAccuracy":
        """Over both sets of items."""
        return ClassAccuracy(right=self.right + other.right, count=self.count + other.count)

    def compute(self) -> float:
        """Mean over the classes that occurred, of the share that was found; NaN without any."""
        right, count = np.asarray(self.right, np.float64), np.asarray(self.count, np.float64)
        seen = count > 0
        return float((right[seen] / count[seen]).mean()) if seen.any() else float("nan")


def confusion(
    found: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, "k k"]:
    """How often a true class (row) was taken for each class (column)."""
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(true), np.asarray(found)), 1)
    return table
