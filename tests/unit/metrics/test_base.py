import jax.numpy as jnp
import numpy as np

from talkface_jax.metrics.base import Average, masked_mean


def test_average_merges_as_if_seen_at_once():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 3)).astype(np.float32)
    parts = Average.of(jnp.asarray(values[:2])).merge(Average.of(jnp.asarray(values[2:])))
    np.testing.assert_allclose(parts.compute(), values.mean(), rtol=1e-6)
    np.testing.assert_allclose(Average.empty().merge(parts).compute(), values.mean(), rtol=1e-6)


def test_masked_values_do_not_count_even_when_nan():
    values = jnp.asarray([[1.0, 3.0], [jnp.nan, jnp.nan]])
    mask = jnp.asarray([1.0, 0.0])
    assert Average.of(values, mask).compute() == 2.0
    assert float(masked_mean(values, mask)) == 2.0


def test_nothing_averages_to_nan_and_masks_to_zero():
    assert np.isnan(Average.empty().compute())
    assert float(masked_mean(jnp.ones((2, 2)), jnp.zeros(2))) == 0.0
