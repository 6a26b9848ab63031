"""Pictures of the render stage."""

import jax
import numpy as np
from jaxtyping import Float, Float32

from talkface_jax.methods import pictures
from talkface_jax.methods.base import as_bytes
from talkface_jax.models.landmark_maps import heatmaps
from talkface_jax.task import Batch, Outputs, Previews

_REACH = 0.05
"""Length of a flow that has its full colour, in widths of the crop."""


def render(outputs: Outputs, batch: Batch, *, sigma: float) -> Previews:
    """A row per item: picture, difference of the heatmaps (the target's in red, the picture's in
    blue, white where neither is or both are), flow in colours, occlusion, image, target.

    `sigma` is the deviation of a landmark's Gaussian in pixels.
    """
    size = batch["face"].shape[1]
    difference = _difference(batch, size=size, sigma=sigma)

    def cells(item: int) -> list[np.ndarray]:
        return [
            np.asarray(batch["identity"][item]),
            as_bytes(1 - np.maximum(difference[item] * _TINTS, 0).sum(-2)),
            as_bytes(flow_colours(np.asarray(outputs["flow"][item]), full=_REACH * size)),
            as_bytes(np.repeat(np.asarray(outputs["occlusion"][item]), 3, -1)),
            as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]

    return pictures.rows(len(batch["face"]), cells)


# What ink of each sign takes away: of the target's red and of the picture's blue.
_TINTS = np.array([[0.0, 1.0, 1.0], [-1.0, -1.0, 0.0]])


def _difference(batch: Batch, *, size: int, sigma: float) -> Float[np.ndarray, "b h w 1 1"]:
    """Of the largest Gaussian at each pixel, in [-1, 1]."""
    draw = jax.jit(heatmaps, static_argnames=("size", "sigma"))
    target, source = (
        np.asarray(draw(batch[name][: pictures.SHOWN], size=size, sigma=sigma)).max(-1)
        for name in ("points", "identity_points")
    )
    return (target - source)[..., None, None]


def flow_colours(flow: Float32[np.ndarray, "h w 2"], *, full: float) -> Float[np.ndarray, "h w 3"]:
    """A flow as colours in [0, 1]: the hue is its direction, and white where nothing moves.

    `full` is the length of a flow that has its full colour.
    """
    angle = np.arctan2(flow[..., 1], flow[..., 0])[..., None]
    hue = 0.5 + 0.5 * np.cos(angle + 2 * np.pi / 3 * np.array([0, -1, 1]))
    strength = np.clip(np.linalg.norm(flow, axis=-1, keepdims=True) / full, 0, 1)
    return 1 - strength * (1 - hue)
