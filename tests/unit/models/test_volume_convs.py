import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.volume_convs import VolumeConv, convolve_by_planes, convolve_direct


def arrays(size):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, 4, 3, 5, 2)).astype(np.float32)
    return x, rng.normal(size=(size, size, size, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_both_ways_are_the_sum_over_the_window(size):
    x, kernel = arrays(size)
    pad = size // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), *[(pad, pad)] * 3, (0, 0)])
    expected = np.zeros((*x.shape[:-1], 3))
    for i, j, k in np.ndindex(size, size, size):
        window = padded[:, i : i + 4, j : j + 3, k : k + 5]
        expected += window @ kernel[i, j, k].astype(np.float64)
    for convolve in (convolve_direct, convolve_by_planes):
        np.testing.assert_allclose(
            convolve(jnp.asarray(x), jnp.asarray(kernel)), expected, atol=1e-4
        )


def test_gradients_of_both_ways_agree():
    x, kernel = (jnp.asarray(array) for array in arrays(3))
    first, second = (
        jax.grad(lambda x, k, f=f: jnp.sum(jnp.sin(f(x, k))), (0, 1))(x, kernel)
        for f in (convolve_direct, convolve_by_planes)
    )
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_layer_adds_its_bias_and_computes_in_its_parameters_format():
    x, kernel = arrays(3)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray([1.0, 2.0, 3.0])}
    net = VolumeConv(3, 3)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.asarray(x))["params"]
    assert {name: leaf.shape for name, leaf in shapes.items()} == {
        "kernel": (3, 3, 3, 2, 3),
        "bias": (3,),
    }
    found = net.apply({"params": params}, x)
    expected = convolve_direct(jnp.asarray(x), params["kernel"]) + params["bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    half = jax.tree.map(lambda array: array.astype(jnp.bfloat16), params)
    assert net.apply({"params": half}, x).dtype == jnp.bfloat16
