"""Loss terms: a function of the step's context, with a weight or schedule and an optional mask."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.task import LossContext

Schedule = Callable[[jax.Array], jax.Array | float]
"""Weight after so many updates."""


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """One term of an objective (`task.Term`).

    Attributes:
      name: unique within the objective.
      function: gives a scalar, or one value per item of the batch (b,).
      weight: a constant or a `Schedule`.
      mask: batch entry (b,), 0 or 1, of the items that count; empty for all of them.
    """

    name: str
    function: Callable[[LossContext], jax.Array]
    weight: float | Schedule = 1.0
    mask: str = ""

    def weight_at(self, step: jax.Array) -> jax.Array | float:
        """The weight after `step` updates."""
        return self.weight(step) if callable(self.weight) else self.weight

    def __call__(self, context: LossContext) -> jax.Array:
        """The unweighted scalar: mean over the items that count."""
        values = self.function(context)
        if not self.mask:
            return jnp.mean(values)
        mask = context.batch[self.mask]
        if values.shape != mask.shape:
            raise ValueError(
                f"loss {self.name}: values of shape {values.shape} cannot be masked by {mask.shape}"
            )
        return masked_mean(values, mask)


def weighted(*terms: LossTerm) -> tuple[LossTerm, ...]:
    """Those that have a weight: the others are not computed."""
    return tuple(term for term in terms if term.weight)


def between(
    function: Callable[..., jax.Array], key: str, **options: Any
) -> Callable[[LossContext], jax.Array]:
    """A term that compares an output with the batch's entry of the same name."""

    def term(context: LossContext) -> jax.Array:
        return function(context.outputs[key], context.batch[key], **options)

    return term


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values (b,) where mask (b,) is 1; 0 where the mask is empty."""
    mask = mask.astype(values.dtype)
    # `where` rather than a product, for a masked item may hold NaN.
    total = jnp.sum(jnp.where(mask > 0, values * mask, 0))
    return total / jnp.maximum(jnp.sum(mask), 1)


def ramp(weight: float, *, start: int, stop: int) -> Schedule:
    """0 until `start`, then linearly to `weight` at `stop`, and `weight` from there on."""

    def at(step: jax.Array) -> jax.Array:
        return weight * jnp.clip((step - start) / max(stop - start, 1), 0, 1)

    return at


def per_item_mean(x: jax.Array) -> jax.Array:
    """(b, …) -> (b,), summed in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jnp.mean(wide.reshape(x.shape[0], -1), -1)
