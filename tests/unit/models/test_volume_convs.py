import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.volume_convs import (
    DoublingVolumeConv,
    VolumeConv,
    convolve_by_planes,
    convolve_direct,
    convolve_doubled,
    convolve_in_pairs,
    convolve_to_taps,
    double_planes,
)

WAYS = {
    1: (convolve_direct, convolve_by_planes),
    3: (convolve_direct, convolve_by_planes, convolve_in_pairs),
    7: (convolve_direct, convolve_by_planes, convolve_to_taps),
}


def arrays(size):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, 4, 4, 6, 2)).astype(np.float32)
    return x, rng.normal(size=(size, size, size, 2, 3)).astype(np.float32)


def summed(x, kernel):
    """The definition, in float64."""
    size, shape = kernel.shape[0], x.shape[1:4]
    pad = size // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), *[(pad, pad)] * 3, (0, 0)])
    expected = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for start in np.ndindex(size, size, size):
        place = tuple(slice(i, i + n) for i, n in zip(start, shape, strict=True))
        expected += padded[(slice(None), *place)] @ kernel[start].astype(np.float64)
    return expected


@pytest.mark.parametrize("size", [1, 3, 7])
def test_all_ways_are_the_sum_over_the_window(size):
    x, kernel = arrays(size)
    expected = summed(x, kernel)
    for convolve in WAYS[size]:
        np.testing.assert_allclose(
            convolve(jnp.asarray(x), jnp.asarray(kernel)), expected, atol=1e-4
        )


def test_doubled_planes_are_convolved_at_their_own_size():
    x, kernel = arrays(3)
    expected = summed(np.asarray(double_planes(jnp.asarray(x))), kernel)
    found = convolve_doubled(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gradients_of_all_ways_agree():
    def gradients(convolve, size, prepare=lambda x: x):
        x, kernel = (jnp.asarray(array) for array in arrays(size))
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(convolve(prepare(x), k))), (0, 1))(x, kernel)

    def agree(first, second):
        for ours, theirs in zip(first, second, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)

    for size, (direct, *others) in WAYS.items():
        for convolve in others:
            agree(gradients(convolve, size), gradients(direct, size))
    agree(gradients(convolve_doubled, 3), gradients(convolve_direct, 3, double_planes))


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("shape", [(4, 16, 16), (3, 18, 16), (8, 9, 9), (2, 2, 2)])
@pytest.mark.parametrize("channels", [3, 17])
def test_layer_adds_its_bias_in_volumes_of_all_sizes(size, shape, channels):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(1, *shape, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, size, channels, channels)), jnp.float32)
    params = {"kernel": kernel, "bias": jnp.arange(channels, dtype=jnp.float32)}
    expected = convolve_direct(x, kernel) + params["bias"]
    net = VolumeConv(channels, size)
    shapes = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
    assert {name: leaf.shape for name, leaf in shapes.items()} == {
        "kernel": kernel.shape,
        "bias": (channels,),
    }
    np.testing.assert_allclose(net.apply({"params": params}, x), expected, atol=1e-3)
    half = jax.tree.map(lambda array: array.astype(jnp.bfloat16), params)
    assert net.apply({"params": half}, x).dtype == jnp.bfloat16
    if size == 3:
        expected = convolve_direct(double_planes(x), kernel) + params["bias"]
        doubling = DoublingVolumeConv(channels)
        np.testing.assert_allclose(doubling.apply({"params": params}, x), expected, atol=1e-3)
        assert doubling.apply({"params": half}, x).dtype == jnp.bfloat16
