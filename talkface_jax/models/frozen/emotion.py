"""A small network that reads the emotion of a face from statistics of its blendshapes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import like_params, widen
from talkface_jax.ranges import AT_LEAST_1, DROPOUT, ranged


@dataclasses.dataclass(frozen=True)
class EmotionConfig:
    """Sizes of the network.

    Attributes:
      features: statistics that it is given (`features.emotion.statistics`).
      hidden: widths of its layers.
      classes: emotions.
      dropout: after each layer, in training.
    """

    features: int = ranged(43, AT_LEAST_1)
    hidden: tuple[int, ...] = ranged((64, 64), AT_LEAST_1)
    classes: int = ranged(8, AT_LEAST_1)
    dropout: float = ranged(0.2, DROPOUT)


class EmotionNetwork(nn.Module):
    """Standardised statistics through dense layers to the class and how strong it is.

    Variables that training does not change but `Task.fitted` gives lie in `constants`: `mean` and
    `deviation` of the statistics.
    """

    config: EmotionConfig = EmotionConfig()

    @nn.compact
    def __call__(
        self, statistics: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Statistics (b, features) -> logits (b, classes) and intensity (b,), both float32.

        The intensity is at least 0 and in the unit of level / 3: 1 at level 3.
        """
        config = self.config
        mean = self.variable("constants", "mean", jnp.zeros, (config.features,))
        deviation = self.variable("constants", "deviation", jnp.ones, (config.features,))
        x = like_params(self, (statistics - mean.value) / deviation.value)
        for number, width in enumerate(config.hidden):
            x = nn.gelu(nn.Dense(width, name=f"dense_{number}")(x))
            x = nn.Dropout(config.dropout)(x, deterministic=not train)
        logits = widen(nn.Dense(config.classes, name="logits")(x))
        strength = widen(nn.Dense(1, name="intensity")(x))
        return logits, nn.softplus(strength[..., 0])
