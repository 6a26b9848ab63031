"""Discriminators."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import instance_norm, like_params
from talkface_jax.ranges import AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class MultiscaleDiscriminatorConfig:
    """pix2pixHD's multi-scale patch discriminator.

    Attributes:
      channels: features of the first layer; doubled per layer up to 512.
      layers: layers of stride 2.
      scales: copies of the network, each on an input of half the size of the one before.
    """

    channels: int = ranged(64, AT_LEAST_1)
    layers: int = ranged(3, AT_LEAST_1)
    scales: int = ranged(2, AT_LEAST_1)


def shrink(x: jax.Array) -> jax.Array:
    """Average pooling of (b, h, w, c), window 3, stride 2, padding excluded from the mean."""
    # Written out, for Linen's own signature says that padding is a string.
    window, stride, padding = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))

    def total(values: jax.Array) -> jax.Array:
        return jax.lax.reduce_window(values, 0.0, jax.lax.add, window, stride, padding)

    return total(x) / total(jnp.ones_like(x[:1, ..., :1]))


class PatchDiscriminator(nn.Module):
    """One scale: convolutions of kernel 4 with instance norm and LeakyReLU 0.2."""

    config: MultiscaleDiscriminatorConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """(b, h, w, c) -> features of every layer; the last is the map of scores (b, i, j, 1)."""
        config = self.config
        initial = nn.initializers.normal(0.02)
        features = []
        for index in range(config.layers + 2):
            last = index == config.layers + 1
            width = 1 if last else min(config.channels * 2**index, 512)
            stride = 2 if index < config.layers else 1
            x = nn.Conv(
                width, (4, 4), (stride, stride), 2, kernel_init=initial, name=f"conv_{index}"
            )(x)
            if 0 < index <= config.layers:
                x = instance_norm(x)
            x = x if last else nn.leaky_relu(x, 0.2)
            features.append(x)
        return features


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators at full, half, … size (Wang et al., pix2pixHD, CVPR 2018)."""

    config: MultiscaleDiscriminatorConfig = MultiscaleDiscriminatorConfig()

    @nn.compact
    def __call__(self, image: jax.Array) -> list[list[jax.Array]]:
        """(b, h, w, 3) in [0, 1] -> per scale, full size first, the features of its layers."""
        image = like_params(self, jnp.asarray(image))
        found = []
        for scale in range(self.config.scales):
            found.append(PatchDiscriminator(self.config, name=f"scale_{scale}")(image))
            if scale + 1 < self.config.scales:
                image = shrink(image)
        return found
