"""Losses between two sets of samples: maximum mean discrepancy (Gretton et al., JMLR 2012)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError

BANDWIDTHS = (1.0, 5.0, 10.0, 20.0, 50.0)
"""Kernel widths in median distances."""
MOST = 2**16
"""Samples of a set: 32 bits count the pairs of so many."""


def mmd(x: jax.Array, y: jax.Array, *, bandwidths: Sequence[float] = BANDWIDTHS) -> jax.Array:
    """Unbiased estimate of MMD² between samples x (n, f) and y (m, f), n and m at least 2 -> ().

    The kernel is the mean over b of exp(-|u - v|² / (2 (b·d)²)), d the `median_distance` of y,
    which is a target: it gets no gradient. Around 0 for samples of one distribution, so it may be
    negative. Source: Gretton et al., equation 3; the paper's loss on blinks (Sinha et al., IJCNN
    2020) is its use with several widths.

    Raises:
      ConfigError: a set of more than `MOST` samples.
    """
    if max(len(x), len(y)) > MOST:
        raise ConfigError(
            f"sets of {max(len(x), len(y))} samples are compared in pairs, and {MOST} are the most "
            "that can be; give a smaller --config.data.batch_size"
        )
    y = jax.lax.stop_gradient(y)
    unit = median_distance(y)

    def kernel(a: jax.Array, b: jax.Array) -> jax.Array:
        scaled = squared_distances(a, b) / jnp.square(unit)
        return jnp.mean(
            jnp.stack([jnp.exp(-scaled / (2 * width**2)) for width in bandwidths]), axis=0
        )

    return _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y)) - 2 * jnp.mean(kernel(x, y))


def squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """(n, f), (m, f) -> (n, m), at least 0."""
    products = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(jnp.square(x), -1)[:, None] + jnp.sum(jnp.square(y), -1)
    return jnp.maximum(squares - 2 * products, 0)


def median_distance(x: jax.Array) -> jax.Array:
    """Median distance of two different rows of x (n, f), n at least 2 -> ().

    Where at least half of the pairs coincide, the mean distance; 1 where all do.
    """
    n = len(x)
    between = jnp.sqrt(squared_distances(x, x)).astype(jnp.float32)
    # Not by indices: of 65,536 rows they would take 17 GB.
    pairs = jnp.arange(n)[:, None] < jnp.arange(n)
    count = n * (n - 1) // 2
    median = _median(between, pairs, count=count)
    mean = jnp.sum(jnp.where(pairs, between, 0.0)) / count
    some = jnp.where(median > _NEGLIGIBLE * mean, median, mean)
    return jnp.where(some > 0, some, 1.0)


# Rounding separates equal rows a little.
_NEGLIGIBLE = 1e-2
_INFINITY = 0x7F800000
"""The bits of float32's infinity."""


def _mean_of_pairs(kernel: jax.Array) -> jax.Array:
    """Mean of a kernel matrix (n, n) over pairs of different rows."""
    n = len(kernel)
    return (jnp.sum(kernel) - jnp.trace(kernel)) / float(n * (n - 1))


def _median(values: jax.Array, chosen: jax.Array, *, count: int) -> jax.Array:
    """`jnp.median` of those of non-negative float32 numbers that are chosen, the same to the bit.

    It counts instead of sorting, for the numbers are as ordered as their bits; of 300,000 distances
    XLA's sort takes a tenth of a second on a CPU, more than all else in the loss.

    Args:
      values: of any shape.
      chosen: of the same, which ones.
      count: how many these are.
    """
    middle = (count + 1) // 2
    bits = jnp.where(chosen, jax.lax.bitcast_convert_type(values, jnp.int32), _INFINITY)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        between = low + (high - low) // 2
        enough = jnp.sum(bits <= between) >= middle
        return jnp.where(enough, low, between + 1), jnp.where(enough, between, high)

    found, _ = jax.lax.fori_loop(0, 31, halve, (jnp.int32(0), jnp.int32(_INFINITY)))
    lower = jax.lax.bitcast_convert_type(found, jnp.float32)
    if count % 2:
        return lower
    above = jnp.min(jnp.where(bits > found, bits, _INFINITY))
    higher = jax.lax.bitcast_convert_type(above, jnp.float32)
    upper = jnp.where(jnp.sum(bits <= found) > middle, lower, higher)
    return (lower + upper) / 2
