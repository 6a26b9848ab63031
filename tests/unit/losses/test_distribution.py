"""MMD with several bandwidths against NumPy, and what makes it a distance of distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.losses import distribution
from talkface_jax.losses.distribution import BANDWIDTHS, _median, median_distance

mmd = jax.jit(distribution.mmd, static_argnames="bandwidths")


def by_hand(x, y, bandwidths):
    """Unbiased MMD² by loops over pairs."""
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(y) for b in y[i + 1 :]]
    unit = np.median(pairs)

    def kernel(a, b):
        square = np.sum((a - b) ** 2)
        return np.mean([np.exp(-square / (2 * (width * unit) ** 2)) for width in bandwidths])

    def within(z):
        n = len(z)
        return sum(kernel(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / n / (n - 1)

    between = np.mean([[kernel(a, b) for b in y] for a in x])
    return within(x) + within(y) - 2 * between


@pytest.mark.parametrize("bandwidths", [BANDWIDTHS, (0.5,), (1.0, 2.0)])
def test_mmd_is_that_of_numpy(bandwidths):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.7, 1, (9, 4)), rng.normal(0, 2, (12, 4))
    ours = mmd(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), bandwidths=bandwidths)
    np.testing.assert_allclose(ours, by_hand(x, y, bandwidths), rtol=2e-4, atol=2e-6)


def test_mmd_does_not_depend_on_the_unit_or_on_order():
    rng = np.random.default_rng(1)
    x, y = (jnp.asarray(rng.normal(m, 1, (20, 3)), jnp.float32) for m in (0.5, 0))
    value = mmd(x, y)
    np.testing.assert_allclose(mmd(100 * x, 100 * y), value, rtol=1e-3)
    np.testing.assert_allclose(mmd(x[::-1], y[::-1]), value, rtol=1e-4)


def test_mmd_is_about_zero_for_one_distribution_and_sees_mean_spread_and_modes():
    rng = np.random.default_rng(2)

    def mean_of(draw):
        values = [
            float(mmd(jnp.asarray(draw(), jnp.float32), jnp.asarray(normal(), jnp.float32)))
            for _ in range(20)
        ]
        return np.mean(values), np.std(values) / np.sqrt(20)

    def normal():
        return rng.normal(size=(100, 1))

    value, error = mean_of(normal)
    assert abs(value) < 4 * error
    for other in (
        lambda: rng.normal(0.5, 1, (100, 1)),
        lambda: rng.normal(0, 2, (100, 1)),
        lambda: rng.choice([-1.0, 1.0], (100, 1)) + rng.normal(0, 0.05, (100, 1)),
    ):
        value, error = mean_of(other)
        assert value > 4 * error


def test_descent_on_mmd_moves_samples_onto_the_target_which_gets_no_gradient():
    rng = np.random.default_rng(3)
    target = jnp.asarray(rng.choice([-2.0, 2.0], (64, 1)), jnp.float32)
    x = jnp.asarray(rng.normal(3, 0.5, (64, 1)), jnp.float32)
    slopes = jax.jit(jax.grad(lambda x: mmd(x, target, bandwidths=(0.3, 1.0))))
    before = mmd(x, target)
    for _ in range(300):
        x = x - 30.0 * slopes(x)
    assert mmd(x, target) < 0.1 * before
    assert 0.25 < np.mean(np.asarray(x) > 0) < 0.75
    assert not jnp.any(jax.jit(jax.grad(mmd, argnums=1))(x, target))


def test_equal_target_rows_give_finite_values_and_gradients():
    x = jnp.linspace(0, 1, 8)[:, None]
    few = jnp.zeros((8, 1)).at[0].set(3.0)
    # 7 of 28 pairs are 3 apart, the others 0: the mean stands in for the median.
    np.testing.assert_allclose(median_distance(few), 3 * 7 / 28, rtol=1e-6)
    assert float(median_distance(jnp.zeros((4, 2)))) == 1.0
    both = jax.jit(jax.value_and_grad(mmd))
    for target in (few, jnp.zeros((8, 1))):
        value, slope = both(x, target)
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(slope)) and jnp.any(slope)


def test_more_samples_than_can_be_compared_are_refused():
    """By shapes: such matrices fit no memory here. The most that pass are counted without wrapping
    around."""
    few, most, more = (
        jax.ShapeDtypeStruct((count, 2), jnp.float32)
        for count in (8, distribution.MOST, distribution.MOST + 1)
    )
    assert jax.eval_shape(distribution.mmd, most, most).shape == ()
    for sets in ((more, few), (few, more)):
        with pytest.raises(
            ConfigError, match=r"^sets of 65537 .*; give a smaller --config\.data\.b"
        ):
            jax.eval_shape(distribution.mmd, *sets)


@pytest.mark.parametrize("count", [1, 2, 3, 28, 29, 4096])
@pytest.mark.parametrize("kind", ["spread", "ties", "half", "equal", "tiny"])
def test_the_median_is_that_of_sorted_numbers_to_the_bit(count, kind):
    draw = np.random.default_rng(count)
    values = {
        "spread": np.exp(draw.normal(0, 20, count)),
        "ties": draw.integers(0, 3, count),
        "half": np.arange(count) < count / 2,
        "equal": np.full(count, 0.3),
        "tiny": draw.uniform(0, 1e-30, count),
    }[kind].astype(np.float32)
    beside = np.stack([values, draw.uniform(0, 9, count).astype(np.float32)])
    found = _median(jnp.asarray(beside), jnp.array([[True], [False]]), count=count)
    np.testing.assert_array_equal(found, jnp.median(jnp.asarray(values)))
