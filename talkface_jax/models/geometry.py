"""Least-squares alignment of point sets inside a network (traceable; landmarks/align.py is its host
twin)."""

import jax
import jax.numpy as jnp

# Landmarks are compared at a thousandth of the face; TF32 or bfloat16 products would be too coarse.
PRECISION = jax.lax.Precision.HIGHEST
_RIDGE = 1e-4


def homogeneous(points: jax.Array) -> jax.Array:
    """(…, n, 2) in [0, 1] -> (…, n, 3): centred at 0.5, with a column of ones."""
    return jnp.concatenate([points - 0.5, jnp.ones_like(points[..., :1])], -1)


def inverse_3x3(matrix: jax.Array) -> jax.Array:
    """Inverse of (…, 3, 3) by cofactors: no LAPACK call, so that it exports to every platform."""
    a, b, c = matrix[..., 0, :], matrix[..., 1, :], matrix[..., 2, :]
    cofactors = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], -1)
    determinant = jnp.sum(a * cofactors[..., :, 0], -1)
    return cofactors / determinant[..., None, None]


def fit_affine(source: jax.Array, target: jax.Array) -> jax.Array:
    """The affine maps that bring source (b, n, 2) onto each target (b, m, n, 2): (b, m, 3, 2).

    Least squares with a ridge that only matters for degenerate sources. `apply_affine` applies
    them.
    """
    points = homogeneous(source)
    gram = jnp.einsum("bni,bnj->bij", points, points, precision=PRECISION)
    inverse = inverse_3x3(gram + _RIDGE * jnp.eye(3, dtype=gram.dtype))
    moments = jnp.einsum("bni,bmnj->bmij", points, target, precision=PRECISION)
    return jnp.einsum("bij,bmjk->bmik", inverse, moments, precision=PRECISION)


def apply_affine(points: jax.Array, maps: jax.Array) -> jax.Array:
    """points (b, n, 2) under every map (b, m, 3, 2) -> (b, m, n, 2)."""
    return jnp.einsum("bni,bmij->bmnj", homogeneous(points), maps, precision=PRECISION)


def fit_affine_in_space(source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The affine map that brings points in space (b, n, 3) onto points in a plane (b, n, 2).

    Least squares as in `fit_affine`.

    Returns:
      turn (b, 3, 2) and offset (b, 1, 2): source · turn + offset is near the target.
    """
    middle, aim = source.mean(1, keepdims=True), target.mean(1, keepdims=True)
    points = source - middle
    gram = jnp.einsum("bni,bnj->bij", points, points, precision=PRECISION)
    inverse = inverse_3x3(gram + _RIDGE * jnp.eye(3, dtype=gram.dtype))
    moments = jnp.einsum("bni,bnj->bij", points, target - aim, precision=PRECISION)
    turn = jnp.einsum("bij,bjk->bik", inverse, moments, precision=PRECISION)
    return turn, aim - jnp.matmul(middle, turn, precision=PRECISION)
