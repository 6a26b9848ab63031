"""Speech-content features to person-independent landmark displacements, frame by frame.

Source: Sinha et al., IJCNN 2020 (the paper does not give the network); the network is VOCA's
(Cudeiro et al., CVPR 2019, section 4) without its speaker condition: convolutions over time and a
decoder that starts from the principal components of the training motion.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import Dropout, like_params, normalise_features, widen
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, DROPOUT, Range, ranged

POINTS = 68


@dataclasses.dataclass(frozen=True)
class SpeechLandmarksConfig:
    """Sizes of the network.

    Attributes:
      channels: outputs of the convolutions over time, each of kernel 3 and stride 2. Unverified
        default.
      hidden: width of the dense tanh layer. Unverified default.
      basis: K, the coefficients that the last layer turns into landmarks; as many principal
        components as hold 99 % of the variance of the training motion, or more. Unverified default.
      points: landmarks.
      dropout: before and after the dense tanh layer; 0 as in VOCA.
      noise: deviation of the white noise on the normalised features in training; 0 as in VOCA.
    """

    channels: tuple[int, ...] = ranged((32, 32, 64, 64), AT_LEAST_1)
    hidden: int = ranged(128, AT_LEAST_1)
    basis: int = ranged(32, Range(least=1, most=2 * POINTS))
    points: int = ranged(POINTS, Range(least=POINTS, most=POINTS))
    dropout: float = ranged(0.0, DROPOUT)
    noise: float = ranged(0.0, AT_LEAST_0)


class SpeechLandmarks(nn.Module):
    """Windows of feature rows to displacements of the landmarks.

    Variables that training does not change but `Task.fitted` gives lie in `constants`:
    `feature_mean` and `feature_deviation`, both (f,).
    """

    config: SpeechLandmarksConfig = SpeechLandmarksConfig()

    @nn.compact
    def __call__(self, content: jax.Array, *, train: bool = False) -> jax.Array:
        """Predicts each frame from its own window; nothing but the sound goes in.

        Args:
          content: (…, rows, f) windows centred on their frames.
          train: dropout and noise (rng "dropout").

        Returns:
          (…, points, 2) displacements in the unit of the training data, float32.
        """
        config = self.config
        lead = content.shape[:-2]
        x = normalise_features(self, content.reshape(-1, *content.shape[-2:]))
        if train and config.noise > 0:
            x += config.noise * jax.random.normal(self.make_rng("dropout"), x.shape)
        x = like_params(self, x)
        for index, features in enumerate(config.channels):
            x = nn.relu(nn.Conv(features, (3,), (2,), [(1, 1)], name=f"conv_{index}")(x))
        x = Dropout(config.dropout, name="dropout_in")(x.reshape(x.shape[0], -1), train=train)
        x = jnp.tanh(nn.Dense(config.hidden, name="hidden")(x))
        x = Dropout(config.dropout, name="dropout_out")(x, train=train)
        # Near zero, so that training starts from the mean motion.
        x = nn.Dense(config.basis, kernel_init=nn.initializers.normal(0.01), name="coefficients")(x)
        points = widen(nn.Dense(2 * config.points, name="decoder")(x))
        return points.reshape(*lead, config.points, 2)
