"""White noise to displacements of the eye's points: an LSTM over the frames.

Source: Sinha et al., IJCNN 2020: blinks are generated from noise as a sequence of displacements of
  the eye points. Ours are the sizes, and three things that make sparse pulses at natural intervals
  learnable in a minute: forget gates that remember for uniformly spread times (Tallec and
  Ollivier, ICLR 2018), a first state drawn from the first frame's noise, so that a track may begin
  at any moment between two blinks, and an output that is mostly one number, how far the lids are
  on their way, times the displacement of closed lids in the training tracks.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from talkface_jax.landmarks import blinks
from talkface_jax.models.blocks import like_params, widen
from talkface_jax.models.lstm import lstm
from talkface_jax.ranges import ABOVE_0, AT_LEAST_1, Range, ranged


@dataclasses.dataclass(frozen=True)
class BlinkLstmConfig:
    """Sizes of the network.

    Attributes:
      noise: white numbers that go in at each frame. Unverified default.
      width: of the LSTM's state. Unverified default.
      head: width of the layer between the state and the lids. Unverified default.
      points: lid and brow points that come out. Unverified default.
      memory: longest time in frames for which a fresh unit remembers. Unverified default.
      sharpness: slope of the sigmoid that says how far the lids are. Unverified default.
    """

    noise: int = ranged(10, AT_LEAST_1)
    width: int = ranged(128, AT_LEAST_1)
    head: int = ranged(32, AT_LEAST_1)
    points: int = ranged(22, Range(least=len(blinks.POINTS), most=len(blinks.POINTS)))
    memory: float = ranged(60.0, Range(above=2))
    sharpness: float = ranged(4.0, ABOVE_0)


class BlinkLstm(nn.Module):
    """Noise to displacements of the points `landmarks.blinks.POINTS` from the open eye.

    Variables that training does not change but `Task.fitted` gives lie in `constants`: `closing`
    and `variety`, both (points, 2), mean and deviation of the displacement of closed lids. A blink
    is nowhere further from the mean than two deviations.
    """

    config: BlinkLstmConfig = BlinkLstmConfig()

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        """Makes a track of any length, frame after frame.

        Args:
          noise: (b, t, config.noise), white, deviation 1.

        Returns:
          (b, t, points, 2) displacements in the canonical frame, float32.
        """
        config = self.config
        noise = like_params(self, noise)
        hidden = self._states(noise)
        points = config.points, 2
        closing = self.variable("constants", "closing", _mean_closing, points)
        variety = self.variable("constants", "variety", jnp.full, points, 0.01)
        inner = jnp.tanh(nn.Dense(config.head, name="head")(hidden))
        features = jnp.concatenate([hidden, inner], -1)
        # Open eyes at the start: a tenth of the way.
        bias = nn.initializers.constant(-2.2 / config.sharpness)
        way = nn.Dense(1, bias_init=bias, name="way")(features)
        way = jax.nn.sigmoid(config.sharpness * widen(way))
        # What differs from blink to blink; near zero at the start.
        rest = nn.Dense(2 * config.points, kernel_init=nn.initializers.normal(1e-3), name="rest")
        shape = jnp.tanh(widen(rest(features))).reshape(*way.shape[:-1], *points)
        return way[..., None] * (closing.value + 2 * variety.value * shape)

    def _states(self, noise: jax.Array) -> jax.Array:
        """The LSTM's outputs (b, t, width)."""
        width = self.config.width
        first = jnp.tanh(nn.Dense(width, name="first_hidden")(noise[:, 0]))
        first = widen(nn.Dense(2 * width, name="first_state")(first))
        gates = nn.Dense(
            4 * width,
            kernel_init=nn.initializers.normal(0.1),
            bias_init=functools.partial(_time_scales, longest=self.config.memory),
            name="input",
        )(noise)
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (width, 4 * width))
        cell, hidden = jnp.split(first, 2, -1)
        return lstm(gates, recurrent, (cell, jnp.tanh(hidden).astype(gates.dtype)))


def _mean_closing(shape: tuple[int, ...]) -> jax.Array:
    """The smallest displacement whose closure is 1: lids that meet halfway."""
    weights = jnp.asarray(blinks.CLOSING)
    return (weights / jnp.sum(jnp.square(weights))).reshape(shape)


def _time_scales(
    key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = float, *, longest: float
) -> jax.Array:
    """Biases of the gates (input, forget, new, output) for memories of 2 to `longest` frames."""
    width = shape[0] // 4
    forget = jnp.log(jax.random.uniform(key, (width,), dtype, 1.0, longest - 1))
    return jnp.concatenate([-forget, forget, jnp.zeros(2 * width, dtype)])
