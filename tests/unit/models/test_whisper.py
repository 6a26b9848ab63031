import math

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.counts import count_leaves
from talkface_jax.models.frozen.whisper import (
    WhisperEncoder,
    WhisperEncoderConfig,
    WhisperLayer,
    positions,
)

TINY = WhisperEncoderConfig(bands=5, width=12, layers=2, heads=3)


def test_full_size_has_whisper_tinys_parameters():
    variables = jax.eval_shape(WhisperEncoder().init, jax.random.key(0), jnp.zeros((1, 600, 80)))
    # As published, and the zero bias of the keys that the stored weights have besides.
    assert count_leaves(variables) == 7_632_384 + 4 * 384
    rows = jax.eval_shape(WhisperEncoder().apply, variables, jnp.zeros((2, 600, 80)))
    assert rows.shape == (2, 300, 384)


def test_positions_are_sines_then_cosines():
    found = positions(50, 8)
    for place in (0, 1, 37):
        rates = [10_000 ** (-i / 3) for i in range(4)]
        expected = [math.sin(place * r) for r in rates] + [math.cos(place * r) for r in rates]
        np.testing.assert_allclose(found[place], expected, atol=1e-5)


def test_layer_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 12))
    layer = WhisperLayer(TINY)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x.astype(np.float32))["params"]
    params = jax.tree.map(lambda a: rng.normal(0, 0.4, a.shape).astype(np.float32), shapes)
    ours = jax.jit(layer.apply)({"params": params}, x.astype(np.float32))

    def norm(v, name):
        scaled = (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)
        return scaled * params[name]["scale"] + params[name]["bias"]

    def dense(v, name):
        return v @ params[name]["kernel"] + params[name]["bias"]

    tokens = x[0]
    q, k, v = np.split(dense(norm(tokens, "attention_norm"), "qkv"), 3, -1)
    mixed = np.zeros_like(tokens)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(4))
        mixed[:, part] = scores / scores.sum(-1, keepdims=True) @ v[:, part]
    tokens = tokens + dense(mixed, "attention_out")
    hidden = dense(norm(tokens, "mlp_norm"), "mlp_in")
    hidden *= 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    np.testing.assert_allclose(ours[0], tokens + dense(hidden, "mlp_out"), atol=1e-4)


def test_a_row_sees_the_mel_rows_around_twice_its_number():
    """Without layers above, row i depends on mel rows 2i - 2 to 2i + 2 only."""
    config = WhisperEncoderConfig(bands=5, width=12, layers=0, heads=3)
    mel = np.random.default_rng(0).normal(size=(1, 40, 5)).astype(np.float32)
    changed = mel.copy()
    changed[0, 20] += 1
    both = np.concatenate([mel, changed])
    rows, _ = jax.jit(WhisperEncoder(config).init_with_output)(jax.random.key(0), both)
    moved = np.abs(rows[0] - rows[1]).max(-1) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(moved), [9, 10, 11])
