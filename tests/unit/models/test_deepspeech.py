import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.interop.content_weights import DEEPSPEECH_INPUTS, deepspeech_shapes
from talkface_jax.models.counts import count_leaves
from talkface_jax.models.frozen.deepspeech import (
    BlockLstm,
    DeepSpeech,
    DeepSpeechConfig,
    initial_state,
)


def test_full_size_has_the_shapes_of_the_release():
    config = DeepSpeechConfig()
    assert config.inputs == DEEPSPEECH_INPUTS == (2 * 9 + 1) * 26
    inputs = jnp.zeros((2, 7, config.inputs)), initial_state(2, config)
    variables = jax.eval_shape(DeepSpeech(config).init, jax.random.key(0), *inputs)
    expected = deepspeech_shapes(2048)
    assert count_leaves(variables) == 47_224_861 == sum(map(np.prod, expected.values()))
    logits, state = jax.eval_shape(DeepSpeech(config).apply, variables, *inputs)
    assert logits.shape == (2, 7, 29) and [x.shape for x in state] == [(2, 2048)] * 2


def lstm_with_bias(bias):
    """A cell of width 1 whose gates are constants: [input gate, candidate, forget gate, output]."""
    params = {"kernel": jnp.zeros((2, 4)), "bias": jnp.asarray(bias, jnp.float32)}
    zero = jnp.zeros((1, 1))
    outputs, (cell, _) = BlockLstm(1).apply({"params": params}, jnp.zeros((1, 3, 1)), (zero, zero))
    return outputs[0, :, 0], cell[0, 0]


def test_order_of_the_gates():
    """Each gate shut or opened by its own bias gives another result."""
    shut, wide = -50.0, 50.0
    np.testing.assert_allclose(lstm_with_bias([shut, 1.0, wide, wide])[1], 0, atol=1e-6)
    # Everything open: the cell counts the steps.
    np.testing.assert_allclose(lstm_with_bias([wide, wide, wide, wide])[1], 3, rtol=1e-6)
    # It forgets: the cell is the last candidate.
    np.testing.assert_allclose(lstm_with_bias([wide, 0.5, shut, wide])[1], np.tanh(0.5), rtol=1e-6)
    outputs, cell = lstm_with_bias([wide, wide, wide, shut])
    np.testing.assert_allclose(cell, 3, rtol=1e-6)
    np.testing.assert_allclose(outputs, 0, atol=1e-6)
