import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.lstm import lstm
from tests.helpers import dense_graph


def test_equals_the_loop():
    rng = np.random.default_rng(0)
    gates, recurrent = rng.normal(size=(2, 5, 12)), rng.normal(size=(3, 12))
    cell, hidden = rng.normal(size=(2, 2, 3))
    found = lstm(*map(jnp.asarray, (gates, recurrent)), (jnp.asarray(cell), jnp.asarray(hidden)))
    for item in range(2):
        expected = dense_graph.lstm(gates[item], recurrent, cell[item], hidden[item])
        np.testing.assert_allclose(found[item], expected, atol=1e-5)


def test_the_cell_stays_wide():
    """Of small steps in bfloat16 a narrow cell would lose most."""
    frames = 200
    gates = np.tile(np.float32([-5.0, 20.0, 3.0, 20.0]), (1, frames, 1))
    narrow = jnp.asarray(gates, jnp.bfloat16)
    start = jnp.zeros((1, 1)), jnp.zeros((1, 1), jnp.bfloat16)
    found = lstm(narrow, jnp.zeros((1, 4), jnp.bfloat16), start)
    assert found.dtype == jnp.bfloat16
    expected = np.tanh(frames * dense_graph.sigmoid(-5.0) * np.tanh(3.0))
    np.testing.assert_allclose(float(found[0, -1, 0]), expected, rtol=0.01)


def test_gradients_are_finite_over_long_windows():
    rng = np.random.default_rng(0)
    recurrent = jnp.asarray(rng.normal(size=(3, 12)), jnp.float32)
    gates = jnp.asarray(rng.normal(size=(1, 300, 12)), jnp.float32)
    start = jnp.zeros((1, 3)), jnp.zeros((1, 3))
    found = jax.grad(lambda r: jnp.sum(lstm(gates, r, start)))(recurrent)
    assert np.isfinite(found).all() and np.abs(found).min() > 0
