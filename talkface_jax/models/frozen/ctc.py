"""A small convolutional speech recogniser for CTC, with a finite view of the sound."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import like_params, widen
from talkface_jax.ranges import AT_LEAST_1, DROPOUT, ranged

_TAPS = 3
ROWS_OF_STEP = 2
"""Rows of the output, 20 ms each, that the network computes together: a video frame."""
_STACKED = 2 * ROWS_OF_STEP


@dataclasses.dataclass(frozen=True)
class CtcConfig:
    """Sizes of the network.

    Attributes:
      bands: mel bands of its input.
      channels: width.
      dilations: of the residual blocks; they reach as many steps of 40 ms to either side as their
        sum.
      classes: characters with the blank.
      dropout: on what each block adds, in training.
    """

    bands: int = ranged(48, AT_LEAST_1)
    channels: int = ranged(192, AT_LEAST_1)
    dilations: tuple[int, ...] = ranged((1, 2, 1, 2, 1, 1), AT_LEAST_1)
    classes: int = ranged(29, AT_LEAST_1)
    dropout: float = ranged(0.05, DROPOUT)

    @property
    def reach(self) -> int:
        """Steps of 40 ms before and after its own on which a step's two rows depend."""
        return 1 + sum(self.dilations)


def neighbours(x: jax.Array, dilation: int) -> jax.Array:
    """Each step beside the ones `dilation` steps before and after: (b, k, c) -> (b, k, 3c).

    Zeros stand beyond the ends. A dense layer on it is a convolution, and many times faster than
    a dilated one and its gradients on a CPU.
    """
    padded = jnp.pad(x, ((0, 0), (dilation, dilation), (0, 0)))
    steps = x.shape[1]
    return jnp.concatenate([padded[:, k * dilation :][:, :steps] for k in range(_TAPS)], -1)


class CtcNetwork(nn.Module):
    """Stacks of four mel rows, a convolution, then residual dilated convolutions at 25 Hz.

    Each step gives the logits of its two rows of 20 ms. Normalisation is over the channels of each
    step, so that nothing but the convolutions looks beyond it, and a long recording can be
    computed in pieces.
    """

    config: CtcConfig = CtcConfig()

    @nn.compact
    def __call__(self, mel: jax.Array, *, train: bool = False) -> jax.Array:
        """Log-mel rows at 100 Hz (b, 4k, bands) -> logits at 50 Hz (b, 2k, classes), float32."""
        config = self.config
        x = like_params(self, mel)
        x = x.reshape(x.shape[0], -1, _STACKED * config.bands)
        x = nn.gelu(nn.Dense(config.channels, name="stem")(neighbours(x, 1)))
        for number, dilation in enumerate(config.dilations):
            y = nn.LayerNorm(name=f"norm_{number}")(x)
            y = nn.gelu(nn.Dense(config.channels, name=f"conv_{number}")(neighbours(y, dilation)))
            y = nn.Dense(config.channels, name=f"mix_{number}")(y)
            x = x + nn.Dropout(config.dropout)(y, deterministic=not train)
        x = nn.LayerNorm(name="norm")(x)
        x = widen(nn.Dense(ROWS_OF_STEP * config.classes, name="logits")(x))
        return x.reshape(x.shape[0], -1, config.classes)
