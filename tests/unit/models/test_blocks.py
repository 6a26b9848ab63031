import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models import blocks


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_pixel_shuffle_places_channels_as_torch_does():
    x = np.arange(2 * 2 * 3 * 8, dtype=np.float32).reshape(2, 2, 3, 8)
    y = np.asarray(blocks.pixel_shuffle(jnp.asarray(x)))
    assert y.shape == (2, 4, 6, 2)
    for c in range(2):
        for dy in range(2):
            for dx in range(2):
                np.testing.assert_array_equal(y[:, dy::2, dx::2, c], x[..., 4 * c + 2 * dy + dx])


def test_halve_undoes_double_on_a_ramp_and_double_is_linear_inside():
    ramp = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
    twice = blocks.double(ramp)
    np.testing.assert_allclose(twice[0, 3, 1:-1, 0], np.arange(1, 15) / 2 - 0.25, atol=1e-6)
    np.testing.assert_allclose(blocks.halve(twice)[0, :, 1:-1, 0], ramp[0, :, 1:-1, 0], atol=1e-6)
    flipped = blocks.double(jnp.swapaxes(ramp, 1, 2))
    np.testing.assert_allclose(flipped, jnp.swapaxes(twice, 1, 2))


def test_instance_norm_is_per_image_and_channel():
    x = images(2, 5, 4, 3) * jnp.asarray([1.0, 10.0, 0.1]) + jnp.asarray([3.0, -2.0, 0.0])
    y = blocks.instance_norm(x)
    flat = np.asarray(x).reshape(2, 20, 3)
    deviation = np.sqrt(flat.var(1, keepdims=True) + 1e-5)
    expected = (flat - flat.mean(1, keepdims=True)) / deviation
    np.testing.assert_allclose(y.reshape(2, 20, 3), expected, atol=1e-4)


def test_modulation_of_one_target_serves_its_consecutive_references():
    x = images(6, 4, 4, 2)
    scale, offset = images(2, 4, 4, 2, seed=1), images(2, 4, 4, 2, seed=2)
    together = blocks.modulate(x, (scale, offset))
    repeated = blocks.modulate(x, (jnp.repeat(scale, 3, 0), jnp.repeat(offset, 3, 0)))
    np.testing.assert_allclose(together, repeated, atol=1e-6)
    by_hand = x[4] * (1 + scale[1]) + offset[1]
    np.testing.assert_allclose(together[4], by_hand, atol=1e-6)


def test_dropout_keeps_the_mean_and_drops_the_rate():
    layer = blocks.Dropout(0.1)
    x = jnp.ones((400, 301))
    y = layer.apply({}, x, train=True, rngs={"dropout": jax.random.key(3)})
    assert abs(float((y == 0).mean()) - 0.1) < 0.005
    assert abs(float(y.mean()) - 1) < 0.005
    np.testing.assert_array_equal(layer.apply({}, x, train=False), x)


def test_sinusoid_is_the_published_encoding():
    code = blocks.sinusoid(5, 8)
    np.testing.assert_array_equal(code[0], [0, 1] * 4)
    assert code[3, 2] == pytest.approx(np.sin(3 / 10_000 ** (2 / 8)), abs=1e-6)
    assert code[3, 3] == pytest.approx(np.cos(3 / 10_000 ** (2 / 8)), abs=1e-6)


def test_unfolding_undoes_folding():
    x = np.random.default_rng(0).random((2, 8, 6, 5))
    folded = blocks.fold(jnp.asarray(x), 2)
    assert folded.shape == (2, 4, 3, 20)
    np.testing.assert_allclose(blocks.unfold(folded, 2), x, atol=1e-6)
