import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.counts import count_params
from talkface_jax.models.frozen.ctc import CtcConfig, CtcNetwork, neighbours

SMALL = CtcConfig(bands=4, channels=6, dilations=(1, 2), classes=5)


def test_neighbours_are_shifted_copies_with_zeros_beyond():
    x = np.arange(1.0, 13.0, dtype=np.float32).reshape(1, 6, 2)
    y = np.asarray(neighbours(jnp.asarray(x), 2))[0]
    expected = np.zeros((6, 6), np.float32)
    expected[2:, :2], expected[:, 2:4], expected[:-2, 4:] = x[0, :-2], x[0], x[0, 2:]
    np.testing.assert_array_equal(y, expected)


def test_a_dense_layer_on_neighbours_is_a_dilated_convolution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 4)).astype(np.float32)
    wanted = jax.lax.conv_general_dilated(
        x, kernel, (1,), [(2, 2)], rhs_dilation=(2,), dimension_numbers=("NWC", "WIO", "NWC")
    )
    found = neighbours(jnp.asarray(x), 2) @ kernel.reshape(9, 4)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_nothing_beyond_its_reach_changes_a_step():
    mel = np.random.default_rng(1).normal(size=(1, 64, SMALL.bands)).astype(np.float32)
    network = CtcNetwork(SMALL)
    variables = network.init(jax.random.key(0), mel)
    before = np.asarray(network.apply(variables, mel))
    assert before.shape == (1, 32, 5)
    step = 8
    changed = mel.copy()
    changed[:, 4 * step : 4 * step + 4] += 1.0
    after = np.asarray(network.apply(variables, changed))
    touched = np.flatnonzero(np.abs(after - before).max((0, 2)) > 0)
    assert SMALL.reach == 4
    assert touched[0] == 2 * (step - SMALL.reach)
    assert touched[-1] == 2 * (step + SMALL.reach) + 1


def test_size_of_the_shipped_network():
    mel = jax.ShapeDtypeStruct((1, 500, CtcConfig().bands), np.float32)
    assert count_params(CtcNetwork(), mel) == 1_011_706
