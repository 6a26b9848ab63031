import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.losses import attention


def test_mean_is_per_item():
    x = np.random.default_rng(0).random((3, 4, 5, 1))
    np.testing.assert_allclose(
        attention.mean_attention(jnp.asarray(x)), x.mean((1, 2, 3)), rtol=1e-5
    )


def test_total_variation_is_the_mean_step_across_plus_down():
    x = np.random.default_rng(1).random((2, 6, 7, 1))
    expected = [
        np.mean([abs(p[i, j + 1] - p[i, j]) for i in range(6) for j in range(6)])
        + np.mean([abs(p[i + 1, j] - p[i, j]) for i in range(5) for j in range(7)])
        for p in x[..., 0]
    ]
    np.testing.assert_allclose(attention.total_variation(jnp.asarray(x)), expected, rtol=1e-5)


def test_a_flat_map_has_no_variation_and_no_slope():
    flat = jnp.full((1, 5, 5, 1), 0.7)
    value, slope = jax.value_and_grad(lambda x: attention.total_variation(x).sum())(flat)
    assert float(value) == 0
    assert np.isfinite(slope).all()
