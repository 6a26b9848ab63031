"""The audio encoder of Whisper (Radford et al., 2022, section 2.2): log-mel rows to features.

Two convolutions, the second of which halves the rate, then a pre-norm transformer encoder. GELU is
the exact one, positions are sinusoids with all sines before all cosines.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import EPSILON, like_params

_LONGEST_WAVE = 10_000.0


@dataclasses.dataclass(frozen=True)
class WhisperEncoderConfig:
    """Sizes of the encoder; the defaults are those of Whisper tiny (7,632,384 parameters).

    Attributes:
      bands: mel bands of the input.
      width: of the tokens.
      layers, heads: transformer encoder; its perceptrons are four times as wide as the tokens.
    """

    bands: int = 80
    width: int = 384
    layers: int = 4
    heads: int = 6


def positions(length: int, width: int) -> np.ndarray:
    """Position encoding (length, width): sines of width/2 rates, then their cosines."""
    half = width // 2
    rates = np.exp(-np.log(_LONGEST_WAVE) / (half - 1) * np.arange(half))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32)


def _gelu(x: jax.Array) -> jax.Array:
    return nn.gelu(x, approximate=False)


class WhisperLayer(nn.Module):
    """Self-attention, then a perceptron; each on normalised tokens and added to them."""

    config: WhisperEncoderConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, m, width) -> (b, m, width)."""
        b, m, width = x.shape
        heads = self.config.heads
        y = nn.LayerNorm(EPSILON, name="attention_norm")(x)
        # One product for queries, keys and values, in this order, as the weights are stored. The
        # published keys have no bias; the stored one is zero.
        qkv = nn.Dense(3 * width, name="qkv")(y).reshape(b, m, 3, heads, width // heads)
        y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
        x = x + nn.Dense(width, name="attention_out")(y.reshape(b, m, width))
        y = nn.LayerNorm(EPSILON, name="mlp_norm")(x)
        y = _gelu(nn.Dense(4 * width, name="mlp_in")(y))
        return x + nn.Dense(width, name="mlp_out")(y)


class WhisperEncoder(nn.Module):
    """Log-mel rows (100 a second) to features (50 a second)."""

    config: WhisperEncoderConfig = WhisperEncoderConfig()

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        """(b, 2 m, bands) -> (b, m, width)."""
        width = self.config.width
        x = like_params(self, mel)
        x = _gelu(nn.Conv(width, (3,), padding=1, name="conv1")(x))
        x = _gelu(nn.Conv(width, (3,), strides=2, padding=1, name="conv2")(x))
        x = x + jnp.asarray(positions(x.shape[1], width), x.dtype)
        for index in range(self.config.layers):
            x = WhisperLayer(self.config, name=f"layer_{index}")(x)
        return nn.LayerNorm(EPSILON, name="norm")(x)
