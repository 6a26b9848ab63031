"""VGG-16 and VGG-19 convolution stacks (Simonyan & Zisserman, ICLR 2015) for perceptual losses."""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.interop.weights import VGG_STAGES
from talkface_jax.models.blocks import like_params

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

PixelRange = Literal["imagenet", "released"]


@dataclasses.dataclass(frozen=True)
class VggConfig:
    """Convolutions and features of the five stages; the defaults are VGG-19's."""

    stages: tuple[int, ...] = VGG_STAGES["vgg19"]
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)


VGG16 = VggConfig(VGG_STAGES["vgg16"])
VGG19 = VggConfig()


def normalise(image: jax.Array, *, pixels: PixelRange) -> jax.Array:
    """What the network is fed, from RGB (b, h, w, 3) in [0, 1].

    "imagenet" is what it was trained on. "released" repeats the released IP-LAP code, whose images
    are BGR in [0, 1] and whose normaliser takes them for RGB in [-1, 1]: the order of the channels
    is reversed and the contrast halved. Only training as published needs it.
    """
    if pixels == "released":
        image = (image[..., ::-1] + 1) / 2
    return (image - jnp.asarray(_MEAN, image.dtype)) / jnp.asarray(_DEVIATION, image.dtype)


class Vgg(nn.Module):
    """Stages of 3x3 convolutions with ReLU, each ended by a 2x2 max pool.

    `layers` are the activations to return, "relu<stage>_<index>" or "pool<stage>", counted from 1;
    the stack is only computed as far as the deepest of them.
    """

    config: VggConfig = VGG19
    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """(b, h, w, 3), normalised -> the activations by name."""
        x = like_params(self, x)
        found: dict[str, jax.Array] = {}
        for stage, (count, features) in enumerate(
            zip(self.config.stages, self.config.channels, strict=True), 1
        ):
            for index in range(1, count + 1):
                x = nn.relu(nn.Conv(features, (3, 3), name=f"conv{stage}_{index}")(x))
                found[f"relu{stage}_{index}"] = x
                if set(self.layers) <= set(found):
                    return {name: found[name] for name in self.layers}
            x = nn.max_pool(x, (2, 2), (2, 2))
            found[f"pool{stage}"] = x
        if unknown := set(self.layers) - set(found):
            raise ValueError(f"VGG has no layers {sorted(unknown)}")
        return {name: found[name] for name in self.layers}
