"""Canonical keypoints, pose and expression -> keypoints as a picture shows them.

The two public families differ in every constant, so each has its functions.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import widen

_EXACT = jax.lax.Precision.HIGHEST
_STEP = 3.0
_FACEVID2VID_START = -99.0
_LIVEPORTRAIT_START = -97.5
_FACEVID2VID_PI = 3.14


@flax.struct.dataclass
class Pose:
    """What a picture says of pose and expression; float32.

    Attributes:
      yaw, pitch, roll: logits (b, bins) of bins of 3 degrees.
      translation: (b, 3).
      expression: (b, k, 3), x before y before z.
    """

    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array
    translation: jax.Array
    expression: jax.Array


def pose_heads(x: jax.Array, *, bins: int, keypoints: int) -> Pose:
    """Linear layers of the calling module, from features (b, f)."""

    def head(features: int, name: str) -> jax.Array:
        return widen(nn.Dense(features, name=name)(x))

    return Pose(
        yaw=head(bins, "yaw"),
        pitch=head(bins, "pitch"),
        roll=head(bins, "roll"),
        translation=head(3, "translation"),
        expression=head(3 * keypoints, "expression").reshape(-1, keypoints, 3),
    )


def _expected_bin(logits: jax.Array) -> jax.Array:
    bins = np.arange(logits.shape[-1], dtype=np.float32)
    return jnp.einsum("...n,n->...", nn.softmax(widen(logits)), bins, precision=_EXACT)


def facevid2vid_degrees(logits: jax.Array) -> jax.Array:
    """Angles (b,) in degrees of bins (b, 66)."""
    return _expected_bin(logits) * _STEP + _FACEVID2VID_START


def liveportrait_degrees(logits: jax.Array) -> jax.Array:
    """Angles (b,) in degrees of bins (b, 66)."""
    return _expected_bin(logits) * _STEP + _LIVEPORTRAIT_START


def _axis_rotations(
    yaw: jax.Array, pitch: jax.Array, roll: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotations (b, 3, 3) about x (pitch), y (yaw) and z (roll), of angles (b,) in radians."""

    def turn(angle: jax.Array, first: int, second: int) -> jax.Array:
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        matrix = jnp.broadcast_to(jnp.eye(3, dtype=angle.dtype), (*angle.shape, 3, 3))
        matrix = matrix.at[..., first, first].set(cosine).at[..., second, second].set(cosine)
        return matrix.at[..., first, second].set(-sine).at[..., second, first].set(sine)

    return turn(pitch, 1, 2), turn(yaw, 2, 0), turn(roll, 0, 1)


def _product(*matrices: jax.Array) -> jax.Array:
    first, *rest = matrices
    for matrix in rest:
        first = jnp.matmul(first, matrix, precision=_EXACT)
    return first


def facevid2vid_rotation(yaw: jax.Array, pitch: jax.Array, roll: jax.Array) -> jax.Array:
    """Rx·Ry·Rz (b, 3, 3) of angles (b,) in degrees, for column vectors; π is 3.14 there."""
    radians = (angle / 180 * _FACEVID2VID_PI for angle in (yaw, pitch, roll))
    return _product(*_axis_rotations(*radians))


def liveportrait_rotation(yaw: jax.Array, pitch: jax.Array, roll: jax.Array) -> jax.Array:
    """(Rz·Ry·Rx)ᵀ (b, 3, 3) of angles (b,) in degrees, for row vectors from the left."""
    x, y, z = _axis_rotations(*(angle / 180 * np.pi for angle in (yaw, pitch, roll)))
    return _product(z, y, x).swapaxes(-1, -2)


def facevid2vid_keypoints(canonical: jax.Array, pose: Pose) -> jax.Array:
    """R·x + t + expression: keypoints (b, k, 3) of canonical ones (b, k, 3)."""
    angles = (facevid2vid_degrees(logits) for logits in (pose.yaw, pose.pitch, pose.roll))
    turned = _product(canonical, facevid2vid_rotation(*angles).swapaxes(-1, -2))
    return turned + pose.translation[:, None] + pose.expression


def liveportrait_keypoints(canonical: jax.Array, pose: Pose, scale: jax.Array) -> jax.Array:
    """scale·(x·R + expression) + t: keypoints (b, k, 3) of canonical ones (b, k, 3) and a scale
    (b, 1); of t only x and y count. Source: arXiv 2407.03168, equation 2."""
    angles = (liveportrait_degrees(logits) for logits in (pose.yaw, pose.pitch, pose.roll))
    turned = _product(canonical, liveportrait_rotation(*angles))
    moved = scale[..., None] * (turned + pose.expression)
    return moved.at[..., :2].add(pose.translation[:, None, :2])
