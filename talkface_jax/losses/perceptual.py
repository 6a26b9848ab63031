"""Perceptual and style losses on VGG features (Johnson et al., ECCV 2016; IP-LAP section 3.3)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.losses.terms import per_item_mean
from talkface_jax.models.blocks import halve
from talkface_jax.models.frozen.vgg import VGG19, PixelRange, Vgg, VggConfig, normalise

Pyramid = list[dict[str, jax.Array]]
"""Features by layer, one dict per image scale, the largest first."""


@dataclasses.dataclass(frozen=True)
class PerceptualFeatures:
    """Which features of which network, on which scales of the image.

    Attributes:
      network: the VGG.
      depth: features relu1_1 to relu<depth>_1.
      scales: sizes of the image, each half the one before.
      halvings: how often the image is halved before the first of them.
      pixels: see `models.frozen.vgg.normalise`; "released" repeats the released code's mismatch.
    """

    network: VggConfig = VGG19
    depth: int = 5
    scales: int = 2
    halvings: int = 0
    pixels: PixelRange = "imagenet"

    def __call__(self, params: Any, image: jax.Array) -> Pyramid:
        """Features of RGB images (b, h, w, 3) in [0, 1]; `params` are
        `interop.weights.load_vgg*()`."""
        layers = tuple(f"relu{stage}_1" for stage in range(1, self.depth + 1))
        vgg = Vgg(self.network, layers)
        found = []
        for _ in range(self.halvings):
            image = halve(image)
        for scale in range(self.scales):
            # Differentiable in the image only: the frozen parameters never enter a gradient.
            fed = normalise(image, pixels=self.pixels)
            found.append(vgg.apply({"params": jax.lax.stop_gradient(params)}, fed))
            if scale + 1 < self.scales:
                image = halve(image)
        return found


def perceptual(prediction: Pyramid, target: Pyramid) -> jax.Array:
    """Sum over scales and layers of the mean absolute feature difference -> (b,)."""
    return sum(
        (
            per_item_mean(jnp.abs(ours[layer] - theirs[layer]))
            for ours, theirs in zip(prediction, target, strict=True)
            for layer in ours
        ),
        start=jnp.zeros(()),
    )


def gram(features: jax.Array) -> jax.Array:
    """(b, h, w, c) -> (b, c, c): inner products of the channels, divided by h·w·c."""
    b, h, w, c = features.shape
    flat = features.reshape(b, h * w, c)
    wide = jnp.promote_types(flat.dtype, jnp.float32)
    return jnp.einsum("bpc,bpd->bcd", flat, flat, preferred_element_type=wide) / (h * w * c)


def style(prediction: Pyramid, target: Pyramid) -> jax.Array:
    """Sum over layers of the mean absolute difference of Gram matrices, first scale -> (b,)."""
    ours, theirs = prediction[0], target[0]
    return sum(
        (per_item_mean(jnp.abs(gram(ours[layer]) - gram(theirs[layer]))) for layer in ours),
        start=jnp.zeros(()),
    )
