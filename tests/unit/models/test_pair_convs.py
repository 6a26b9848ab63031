import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models import pair_convs
from talkface_jax.models.volume_convs import double_planes


def arrays(shape, channels=2, features=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape, channels)).astype(np.float32)
    return x, rng.normal(size=(3, 3, channels, features)).astype(np.float32)


def summed(x, kernel):
    """The definition, in float64."""
    _, h, w, _ = x.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(
        padded[:, i : i + h, j : j + w] @ kernel[i, j].astype(np.float64)
        for i, j in np.ndindex(3, 3)
    )


@pytest.mark.parametrize(
    "convolve", [pair_convs.convolve_plain, pair_convs.convolve_in_pairs, pair_convs.convolve]
)
def test_all_ways_are_the_sum_over_the_window(convolve):
    x, kernel = arrays((4, 6))
    found = convolve(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, summed(x, kernel), atol=1e-5)


def test_doubled_pictures_are_convolved_at_their_own_size():
    x, kernel = arrays((3, 5))
    expected = summed(np.asarray(double_planes(jnp.asarray(x))), kernel)
    found = pair_convs.convolve_doubled(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_agree():
    x, kernel = (jnp.asarray(array) for array in arrays((4, 6)))
    first, second = (
        jax.grad(lambda x, k, f=f: jnp.sum(jnp.sin(f(x, k))), (0, 1))(x, kernel)
        for f in (pair_convs.convolve_plain, pair_convs.convolve_in_pairs)
    )
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("large", [0, pair_convs._LARGE])
def test_large_maps_one_after_the_other_are_the_same(monkeypatch, large):
    monkeypatch.setattr(pair_convs, "_LARGE", large)
    x, kernel = arrays((16, 18), 16, 16)
    found = pair_convs.convolve_on_cpu(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, summed(x, kernel), atol=1e-4)
    loops = str(jax.make_jaxpr(lambda x: pair_convs.convolve_on_cpu(x, kernel))(x)).count("scan")
    assert loops == (large == 0)


def test_a_batch_of_any_size_is_exported(monkeypatch):
    monkeypatch.setattr(pair_convs, "_LARGE", 0)
    x, kernel = arrays((16, 18), 16, 16)
    shape = jax.export.symbolic_shape("b, 16, 18, 16")
    function = jax.jit(lambda x: pair_convs.convolve(x, jnp.asarray(kernel)))
    exported = jax.export.export(function)(jax.ShapeDtypeStruct(shape, "float32"))
    for count in (1, 2):
        found = exported.call(jnp.asarray(x[:count]))
        np.testing.assert_allclose(found, summed(x[:count], kernel), atol=1e-4)


def test_large_maps_need_the_memory_of_one_picture(monkeypatch):
    """Between a convolution's maps lie several of their size."""
    x, kernel = jax.ShapeDtypeStruct((8, 64, 64, 16), "float32"), arrays((2, 2), 16, 32)[1]

    def needed():
        compiled = jax.jit(lambda x: pair_convs.convolve_on_cpu(x, jnp.asarray(kernel))).lower(x)
        return compiled.compile().memory_analysis().temp_size_in_bytes

    together = needed()
    monkeypatch.setattr(pair_convs, "_LARGE", 0)
    assert needed() < together / 3


@pytest.mark.parametrize("shape", [(16, 16), (18, 17), (2, 2)])
@pytest.mark.parametrize("channels", [3, 16])
def test_layer_in_pictures_of_all_sizes(shape, channels):
    x, kernel = arrays(shape, channels, channels)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.arange(channels, dtype=jnp.float32)}
    net = pair_convs.PlaneConv(channels)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.asarray(x))["params"]
    assert {name: leaf.shape for name, leaf in shapes.items()} == {
        "kernel": kernel.shape,
        "bias": (channels,),
    }
    expected = summed(x, kernel) + np.arange(channels)
    np.testing.assert_allclose(net.apply({"params": params}, x), expected, atol=1e-4)
    half = jax.tree.map(lambda array: array.astype(jnp.bfloat16), params)
    found = net.apply({"params": half}, x)
    assert found.dtype == jnp.bfloat16
    # Rounded once, not in sums and differences of what goes in.
    assert np.abs(np.asarray(found, np.float32) - expected).max() < 0.02 * np.abs(expected).max()
