"""Differentiable backward warping by a flow in pixels."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.blocks import halve

Grid = Literal["released", "aligned"]
"""How pixel indices become sampling positions.

"released": IP-LAP's own: the base grid puts the first and last pixel centres at -1 and 1, but the
sampler reads -1 and 1 as the outer pixel edges, so zero flow scales the image by size / (size - 1)
about its centre. "aligned": both use pixel centres, so zero flow is the identity at every size.
"""


def sample_bilinear(image: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Reads (b, h, w, c) at pixel positions x, y (b, i, j) -> (b, i, j, c); zero outside."""
    h, w = image.shape[1:3]
    x0, y0 = jnp.floor(x), jnp.floor(y)
    right, below = x - x0, y - y0

    def corner(dx: int, dy: int, weight: jax.Array) -> jax.Array:
        column, row = x0 + dx, y0 + dy
        inside = (column >= 0) & (column <= w - 1) & (row >= 0) & (row <= h - 1)
        column = jnp.clip(column, 0, w - 1).astype(jnp.int32)
        row = jnp.clip(row, 0, h - 1).astype(jnp.int32)
        # A vmapped gather is eight times as fast on CPU as `map_coordinates`.
        values = jax.vmap(lambda plane, r, c: plane[r, c])(image, row, column)
        return values * (weight * inside)[..., None]

    return (
        corner(0, 0, (1 - right) * (1 - below))
        + corner(1, 0, right * (1 - below))
        + corner(0, 1, (1 - right) * below)
        + corner(1, 1, right * below)
    )


def sample_bicubic(image: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Reads (b, h, w, c) at pixel positions x, y (b, i, j) -> (b, i, j, c), sharper than bilinear:
    Catmull-Rom (Keys, IEEE TASSP 1981, a = -1/2); the border is repeated outside."""
    h, w = image.shape[1:3]
    x0, y0 = jnp.floor(x), jnp.floor(y)

    def weights(t: jax.Array) -> list[jax.Array]:
        square, cube = t * t, t * t * t
        return [
            (-cube + 2 * square - t) / 2,
            (3 * cube - 5 * square + 2) / 2,
            (-3 * cube + 4 * square + t) / 2,
            (cube - square) / 2,
        ]

    across, down = weights(x - x0), weights(y - y0)
    total = jnp.zeros((), image.dtype)
    for j, row_weight in enumerate(down, -1):
        row = jnp.clip(y0 + j, 0, h - 1).astype(jnp.int32)
        for i, weight in enumerate(across, -1):
            column = jnp.clip(x0 + i, 0, w - 1).astype(jnp.int32)
            values = jax.vmap(lambda plane, r, c: plane[r, c])(image, row, column)
            total = total + values * (row_weight * weight)[..., None]
    return total


def sampling_grid(flow: jax.Array, *, grid: Grid) -> jax.Array:
    """Positions in [-1, 1] from a flow in pixels (b, h, w, 2), x before y."""
    h, w = flow.shape[1:3]
    if grid == "released":
        # In float32 and in this order, so that positions round as the released code's do.
        rows, columns = (
            2 * (np.arange(n, dtype=np.float32) / np.float32(n - 1)) - 1 for n in (h, w)
        )
        scale = (w - 1, h - 1)
    else:
        rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in (h, w))
        scale = (w, h)
    base = np.stack(np.broadcast_arrays(columns[None, :], rows[:, None]), -1)
    # As an array of flow's shape: XLA would turn a constant divisor into its rounded reciprocal.
    divisor = jnp.broadcast_to(jnp.asarray(scale, flow.dtype), flow.shape)
    return jnp.asarray(base, flow.dtype) + 2 * (flow / divisor)


def warp_by_grid(image: jax.Array, positions: jax.Array) -> jax.Array:
    """Samples (b, h, w, c) at positions in [-1, 1], where -1 and 1 are the outer edges.

    Positions (b, 2h, 2w, 2) are averaged down to the image's size first, as the released code does
    for feature maps of half the flow's size.

    Raises:
      ValueError: positions neither of the image's size nor of twice that.
    """
    h, w = image.shape[1:3]
    if positions.shape[1:3] == (2 * h, 2 * w):
        positions = halve(positions)
    elif positions.shape[1:3] != (h, w):
        raise ValueError(f"positions {positions.shape} do not fit an image {image.shape}")
    x = ((positions[..., 0] + 1) * w - 1) / 2
    y = ((positions[..., 1] + 1) * h - 1) / 2
    return sample_bilinear(image, x, y)


def warp(image: jax.Array, flow: jax.Array, *, grid: Grid) -> jax.Array:
    """output(p) = image(p + flow(p)): flow (b, h, w, 2) in pixels of its own size, x before y.

    The image (b, h, w, c) has the flow's size or half of it. Zero outside the image.
    Source: IP-LAP section 3.3 and the released `warping`.
    """
    return warp_by_grid(image, sampling_grid(flow, grid=grid))
