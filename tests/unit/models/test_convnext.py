import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.convnext import (
    ConvNext,
    ConvNextBlock,
    ConvNextConfig,
    DepthwiseConv,
    ResponseNorm,
    convolve_depthwise,
    convolve_depthwise_by_taps,
)


def test_response_norm_is_the_published_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5))
    scale, offset = rng.normal(size=(2, 5))
    params = {"scale": jnp.asarray(scale, jnp.float32), "bias": jnp.asarray(offset, jnp.float32)}
    response = np.sqrt((x**2).sum((1, 2), keepdims=True))
    response /= response.mean(-1, keepdims=True) + 1e-6
    expected = scale * (x * response) + offset + x
    found = ResponseNorm().apply({"params": params}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_silent_channels_have_finite_slopes():
    x = jnp.zeros((1, 2, 2, 3)).at[..., 0].set(1.0)
    params = {"scale": jnp.ones(3), "bias": jnp.zeros(3)}
    slope = jax.grad(lambda x: ResponseNorm().apply({"params": params}, x).sum())(x)
    assert np.isfinite(slope).all()


def test_depthwise_convolution_keeps_channels_apart():
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(1, 4, 5, 3)), rng.normal(size=(7, 7, 1, 3))
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = sum(padded[:, i : i + 4, j : j + 5] * kernel[i, j, 0] for i, j in np.ndindex(7, 7))
    for convolve in (convolve_depthwise, convolve_depthwise_by_taps):
        found = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    params = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray([1.0, 2, 3])}
    found = DepthwiseConv(7).apply({"params": params}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, expected + np.array([1, 2, 3]), atol=1e-4)


def test_a_fresh_blocks_response_norm_does_nothing():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 4, 4, 3)), jnp.float32)
    net = ConvNextBlock()
    variables = net.init(jax.random.key(0), x)
    params = variables["params"]
    assert not np.any(params["response"]["scale"]) and not np.any(params["response"]["bias"])
    assert net.apply(variables, x).shape == x.shape


def test_features_of_a_picture():
    net = ConvNext(ConvNextConfig(widths=(3, 4, 5), blocks=(1, 2, 1)))
    image = jax.ShapeDtypeStruct((2, 32, 48, 3), jnp.float32)
    out = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x), image)
    assert out[0].shape == (2, 5)
    assert {"stage_1_1", "halve_2", "halve_2_norm", "stem_norm"} <= set(out[1]["params"])
