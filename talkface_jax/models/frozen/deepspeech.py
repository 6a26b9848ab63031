"""The acoustic network of Mozilla DeepSpeech 0.9.3 (after Hannun et al., 2014), to its logits.

Source: `create_model` in the released training code (training/deepspeech_training/train.py). Three
dense layers, a one-way LSTM and a dense layer, all dense ones with ReLU clipped at 20, then the
logits of the alphabet. The LSTM is TensorFlow's LSTMBlockFusedCell without forget bias, clipping or
peepholes: one kernel for [input, hidden], its columns in the order input gate, candidate, forget
gate, output gate ("[i, ci, f, o]", tensorflow/core/ops/rnn_ops.cc).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import like_params

CLIP = 20.0
State = tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]


@dataclasses.dataclass(frozen=True)
class DeepSpeechConfig:
    """Sizes of the network; the defaults are those of the release (47,224,861 parameters).

    Attributes:
      inputs: values of a row with its context: 19 x 26.
      hidden: width of the dense layers and of the LSTM.
      characters: logits, the last of which is the CTC blank.
    """

    inputs: int = 494
    hidden: int = 2048
    characters: int = 29


def initial_state(batch: int, config: DeepSpeechConfig) -> tuple[np.ndarray, np.ndarray]:
    """The LSTM's cell and output (b, hidden) before the first row: zeros, on no device yet."""
    zeros = np.zeros((batch, config.hidden), np.float32)
    return zeros, zeros


class BlockLstm(nn.Module):
    """TensorFlow's LSTMBlockFusedCell with its single kernel ((inputs + width), 4 width)."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, state: State) -> tuple[jax.Array, State]:
        """(b, m, inputs) and the state before the first row -> (b, m, width), the last state."""
        inputs = x.shape[-1]
        shape = (inputs + self.width, 4 * self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:])

        def step(state: State, from_input: jax.Array) -> tuple[State, jax.Array]:
            cell, output = state
            gates = from_input + output @ kernel[inputs:]
            admit, candidate, keep, show = jnp.split(gates, 4, -1)
            cell = nn.sigmoid(keep) * cell + nn.sigmoid(admit) * jnp.tanh(candidate)
            output = nn.sigmoid(show) * jnp.tanh(cell)
            return (cell, output), output

        from_inputs = jnp.swapaxes(x @ kernel[:inputs] + bias, 0, 1)
        state, outputs = jax.lax.scan(step, state, from_inputs)
        return jnp.swapaxes(outputs, 0, 1), state


class DeepSpeech(nn.Module):
    """MFCC rows with their context to character logits."""

    config: DeepSpeechConfig = DeepSpeechConfig()

    @nn.compact
    def __call__(self, x: jax.Array, state: State) -> tuple[jax.Array, State]:
        """(b, m, inputs) and the state before the first row -> (b, m, characters), the last state.

        The 19 rows of an input follow one another, earliest first.
        """
        x = like_params(self, x)
        for index in (1, 2, 3):
            x = jnp.clip(nn.Dense(self.config.hidden, name=f"layer_{index}")(x), 0, CLIP)
        x, state = BlockLstm(self.config.hidden, name="lstm")(x, state)
        x = jnp.clip(nn.Dense(self.config.hidden, name="layer_5")(x), 0, CLIP)
        return nn.Dense(self.config.characters, name="layer_6")(x), state
