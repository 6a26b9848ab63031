"""A flow field straight from landmarks: where each pixel of the target lies in a reference.

Ours, not IP-LAP's: it stands in for what the alignment network learns from hundreds of hours of
video, so that a small network trained for minutes starts with a mouth that moves.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.geometry import PRECISION, apply_affine, fit_affine
from talkface_jax.ranges import ABOVE_0, ranged

_SCHEME = get_scheme("iplap131")
_POSE, _LIPS = _SCHEME.groups["pose"], _SCHEME.groups["lips"]


@dataclasses.dataclass(frozen=True)
class LandmarkFlowConfig:
    """Kernels of the interpolation, in units of the crop.

    Attributes:
      lip_sigma: deviation of a lip point's kernel; narrow, so that both lips move on their own.
      face_sigma: deviation of every other point's kernel.
      background: weight of "moves with the head", which wins far from all points.
      temperature: mouth-shape distance at which a reference's weight falls by e.
    """

    lip_sigma: float = ranged(0.03, ABOVE_0)
    face_sigma: float = ranged(0.08, ABOVE_0)
    background: float = ranged(0.05, ABOVE_0)
    temperature: float = ranged(0.01, ABOVE_0)


DEFAULT_KERNELS = LandmarkFlowConfig()


@dataclasses.dataclass(frozen=True)
class LandmarkFlow:
    """flow (b, r, h, w, 2) in pixels, x before y; logit (b, r), at most 0, for the likest mouth."""

    flow: jax.Array
    logit: jax.Array


def landmark_flow(
    points: jax.Array,
    reference_points: jax.Array,
    *,
    size: int,
    config: LandmarkFlowConfig = DEFAULT_KERNELS,
) -> LandmarkFlow:
    """Dense flow from the iplap131 points of the target to those of each reference.

    The head's motion is the affine map of the pose points; what the points move beyond it is
    interpolated by normalised Gaussian kernels (Nadaraya-Watson). At full size this is two small
    matrix products, because the kernels are separable in x and y.

    Args:
      points: (b, 131, 2) target points, crop coordinates in [0, 1].
      reference_points: (b, r, 131, 2) points of the references.
      size: height and width of the crop in pixels.
      config: kernel sizes.
    """
    maps = fit_affine(points[:, _POSE], reference_points[:, :, _POSE])
    residual = reference_points - apply_affine(points, maps)
    centres = (jnp.arange(size, dtype=points.dtype) + 0.5) / size
    is_lip = np.isin(np.arange(len(_SCHEME.indices)), _LIPS)
    # Of JAX, for kernels may be learned.
    sigma = jnp.where(is_lip, config.lip_sigma, config.face_sigma).astype(jnp.float32)
    # Kernels of equal volume: wide ones must not drown the lips.
    amplitude = (config.lip_sigma / sigma) ** 2

    def kernel(coordinate: jax.Array) -> jax.Array:
        scaled = (centres - coordinate[..., None]) / sigma[:, None]
        return jnp.exp(-0.5 * jnp.square(scaled))

    across, down = kernel(points[..., 0]), kernel(points[..., 1]) * amplitude[:, None]
    total = jnp.einsum("bnh,bnw->bhw", down, across, precision=PRECISION)
    moved = across[:, None, :, :, None] * residual[:, :, :, None, :]
    local = jnp.einsum("bnh,brnwc->brhwc", down, moved, precision=PRECISION)
    local = local / (total + config.background)[:, None, :, :, None]

    base = jnp.stack(jnp.broadcast_arrays(centres[None, :], centres[:, None]), -1)
    flat = jnp.broadcast_to(base.reshape(1, -1, 2), (points.shape[0], size * size, 2))
    head = apply_affine(flat, maps).reshape(*maps.shape[:2], size, size, 2)
    distance = jnp.linalg.norm(residual[:, :, _LIPS], axis=-1).mean(-1)
    logit = (distance.min(1, keepdims=True) - distance) / config.temperature
    return LandmarkFlow(flow=size * (head - base + local), logit=logit)
