"""The reader's network beside NumPy."""

import jax
import numpy as np

from talkface_jax.models.frozen.emotion import EmotionConfig, EmotionNetwork


def test_network_beside_numpy():
    config = EmotionConfig(features=6, hidden=(5, 4), classes=3)
    net = EmotionNetwork(config)
    rng = np.random.default_rng(0)
    given = rng.normal(size=(7, 6)).astype(np.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), given)
    variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
    variables["constants"]["deviation"] = rng.uniform(0.5, 2, 6).astype(np.float32)
    logits, intensity = net.apply(variables, given)
    constants, params = variables["constants"], variables["params"]
    x = (given - constants["mean"]) / constants["deviation"]

    def dense(x, name):
        return x @ params[name]["kernel"] + params[name]["bias"]

    for name in ("dense_0", "dense_1"):
        x = dense(x, name)
        x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(logits, dense(x, "logits"), rtol=1e-4, atol=1e-4)
    strong = np.log1p(np.exp(dense(x, "intensity")[:, 0]))
    np.testing.assert_allclose(intensity, strong, rtol=1e-4, atol=1e-4)


def test_dropout_in_training_only():
    config = EmotionConfig(features=6, hidden=(32,), classes=3, dropout=0.5)
    net = EmotionNetwork(config)
    given = np.ones((1, 6), np.float32)
    variables = net.init(jax.random.key(0), given)
    plain = net.apply(variables, given)[0]
    np.testing.assert_array_equal(plain, net.apply(variables, given)[0])
    noisy = net.apply(variables, given, train=True, rngs={"dropout": jax.random.key(1)})[0]
    assert not np.allclose(plain, noisy)
