import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.counts import count_params
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarks, SpeechLandmarksConfig

SMALL = SpeechLandmarksConfig(channels=(6, 6, 5, 5), hidden=7, basis=3, dropout=0.5, noise=0.5)


NET = SpeechLandmarks(SMALL)


@functools.cache
def compiled(*, train):
    """One program for all tests, for every operation by itself would be compiled otherwise."""
    return jax.jit(
        lambda tree, content, key: NET.apply(tree, content, train=train, rngs={"dropout": key})
    )


def run(tree, content, *, train=False, seed=0):
    return np.asarray(compiled(train=train)(tree, content, jax.random.key(seed)))


def variables(config, features, seed=0):
    rng = np.random.default_rng(seed)
    shape = jax.ShapeDtypeStruct((1, 16, features), jnp.float32)
    tree = jax.eval_shape(SpeechLandmarks(config).init, jax.random.key(0), shape)

    def draw(leaf):
        values = rng.uniform(0.2, 0.7, leaf.shape) * rng.choice((-1, 1), leaf.shape)
        return values.astype(np.float32)

    filled = jax.tree.map(draw, tree)
    spread = rng.uniform(0.5, 2, features)
    filled["constants"]["feature_deviation"] = spread.astype(np.float32)
    return filled


@pytest.fixture(scope="module")
def small():
    return variables(SMALL, 4)


@pytest.fixture
def content():
    return np.random.default_rng(1).normal(size=(2, 3, 16, 4)).astype(np.float32)


def by_hand(tree, window):
    """The network on one window, loop by loop."""
    params, constants = tree["params"], tree["constants"]
    x = (window - constants["feature_mean"]) / constants["feature_deviation"]
    for index in range(4):
        layer = params[f"conv_{index}"]
        kernel = np.asarray(layer["kernel"])
        padded = np.pad(x, ((1, 1), (0, 0)))
        rows = []
        for start in range(0, len(x), 2):
            taps = [padded[start + k] @ kernel[k] for k in range(3)]
            rows.append(np.maximum(sum(taps) + layer["bias"], 0))
        x = np.stack(rows)
    assert len(x) == 1
    x = np.tanh(x[0] @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    x = x @ params["coefficients"]["kernel"] + params["coefficients"]["bias"]
    return (x @ params["decoder"]["kernel"] + params["decoder"]["bias"]).reshape(68, 2)


def test_equals_the_loops(small, content):
    found = run(small, content)
    assert found.shape == (2, 3, 68, 2)
    for b in range(2):
        for t in range(3):
            expected = by_hand(small, content[b, t])
            np.testing.assert_allclose(found[b, t], expected, rtol=2e-4, atol=2e-4)


def test_noise_and_dropout_are_for_training_only(small, content):
    plain = run(small, content, seed=0)
    np.testing.assert_array_equal(run(small, content, seed=1), plain)
    drawn = [run(small, content, train=True, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 1e-2
    assert np.abs(drawn[0] - plain).max() > 1e-2


@pytest.mark.parametrize(("features", "extra"), [(29, 0), (384, 3 * 355 * 32)])
def test_size_of_the_full_network(features, extra):
    """Four convolutions, 64 -> 128 -> K -> 136."""
    basis = SpeechLandmarksConfig().basis
    convolutions = (3 * 29 + 1) * 32 + (3 * 32 + 1) * 32 + (3 * 32 + 1) * 64 + (3 * 64 + 1) * 64
    dense = 65 * 128 + 129 * basis + (basis + 1) * 136
    window = jax.ShapeDtypeStruct((2, 5, 16, features), jnp.float32)
    assert count_params(SpeechLandmarks(), window) == convolutions + extra + dense
    found = jax.eval_shape(
        lambda x: SpeechLandmarks().init_with_output(jax.random.key(0), x)[0], window
    )
    assert found.shape == (2, 5, 68, 2)


def test_bfloat16_parameters_give_float32_landmarks(small, content):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), small["params"])
    found, whole = run({**small, "params": params}, content), run(small, content)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - whole).max() < 0.1 * np.abs(whole).max()
