"""How unlike two pictures of a mouth look to a trained network; online and traceable.

The unweighted form of LPIPS (Zhang et al., CVPR 2018, equation 1 with w = 1): features are brought
to length 1 at every place, so that a soft mouth counts more than one of another brightness, which
is the other way round for L1.
"""

from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.metrics.base import Average
from talkface_jax.models.frozen.vgg import Vgg, VggConfig, normalise

_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_LEAST_SIDE = 8  # the deepest layer has one place then
_LEAST_LENGTH = 1e-6
"""Below it a feature counts as none."""


def mouth_perceptual(
    image: jax.Array,
    target: jax.Array,
    lips: jax.Array,
    mask: jax.Array,
    *,
    params: Any,
    network: VggConfig,
) -> Average:
    """Squared distance of normalised VGG features around the mouth, mean over places and layers.

    Args:
      image, target: (b, s, s, 3), RGB in [0, 1].
      lips: (b, n, 2), points of the true lips, [0, 1] over the picture.
      mask: (b,), 0 for padding.
      params: of the network.
      network: which VGG.

    Returns:
      The running mean over pictures; 0 where they are the same, at most 4.
    """
    side = max(image.shape[1] // 2, _LEAST_SIDE)
    vgg = Vgg(network, _LAYERS)

    def features(pictures: jax.Array) -> Any:
        cut = mouth_crops(pictures.astype(jnp.float32), lips, side=side)
        return vgg.apply({"params": params}, normalise(cut, pixels="imagenet"))

    ours, theirs = features(image), features(target)
    apart = [
        jnp.sum(jnp.square(_unit_length(ours[layer]) - _unit_length(theirs[layer])), -1).mean(
            (1, 2)
        )
        for layer in theirs
    ]
    return Average.of(jnp.stack(apart).mean(0), mask)


def mouth_crops(pictures: jax.Array, lips: jax.Array, *, side: int) -> jax.Array:
    """Squares around the middle of the lips, moved inwards where they would leave the picture.

    Args:
      pictures: (b, h, w, c).
      lips: (b, n, 2), x and y in [0, 1] over the picture.
      side: of the squares, in pixels; at most h and w.

    Returns:
      (b, side, side, c).
    """
    size = jnp.asarray([pictures.shape[2], pictures.shape[1]], jnp.float32)
    middle = (lips.min(1) + lips.max(1)) / 2 * size
    corner = jnp.round(middle - side / 2).astype(jnp.int32)

    def cut(picture: jax.Array, at: jax.Array) -> jax.Array:
        # A start outside is moved so that the square fits.
        return jax.lax.dynamic_slice(picture, (at[1], at[0], 0), (side, side, picture.shape[-1]))

    # Below 0 a start would be counted from the other end.
    return jax.vmap(cut)(pictures, jnp.maximum(corner, 0))


def _unit_length(features: jax.Array) -> jax.Array:
    length = jnp.sqrt(jnp.sum(jnp.square(features), -1, keepdims=True))
    return features / jnp.maximum(length, _LEAST_LENGTH)
