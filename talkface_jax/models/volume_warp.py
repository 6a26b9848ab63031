"""Differentiable warping of feature volumes, for generators moved by 3-D keypoints.

Volumes are (b, d, h, w, c). Positions are x, y, z in [-1, 1]. As in face-vid2vid and its relatives
two conventions meet: the grid puts the first and last voxel centres at -1 and 1, but the sampler
reads -1 and 1 as the outer voxel edges. A grid that nothing has moved is therefore no identity: it
scales every axis by size / (size - 1) about the centre. Outside the volume is zero.
Source: Wang et al., CVPR 2021 (arXiv 2011.15126), and its unofficial code.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, ...]
"""Depth, height, width."""


def axis_grid(count: int) -> np.ndarray:
    """Positions (count,) of an axis's voxel centres, the first at -1 and the last at 1; float32.

    In this order of operations, so that positions round as the released code's do.
    """
    return 2 * (np.arange(count, dtype=np.float32) / np.float32(count - 1)) - 1


def corner_grid(size: Size) -> np.ndarray:
    """Positions (d, h, w, 3), x before y before z, of all voxel centres by `axis_grid`."""
    z, y, x = (axis_grid(count) for count in size)
    return np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None]), -1)


def to_index(position: jax.Array, count: int) -> jax.Array:
    """Voxel indices, with fractions, of positions whose -1 and 1 are the outer edges."""
    return ((position + 1) * count - 1) / 2


def sample_volume(volume: jax.Array, positions: jax.Array) -> jax.Array:
    """Reads volumes at arbitrary positions, by trilinear interpolation.

    A gather, which every exporter knows, one corner of the eight after the other.

    Args:
      volume: (b, d, h, w, c).
      positions: (b, i, j, k, 3).

    Returns:
      (b, i, j, k, c) in the volume's number format.
    """
    batch, *size, channels = volume.shape
    rows = volume.reshape(batch, -1, channels)
    # x, y, z as positions are; the volume's axes are z, y, x.
    indices = [to_index(positions[..., axis], size[2 - axis]) for axis in range(3)]
    lows = [jnp.floor(index) for index in indices]
    fractions = [index - low for index, low in zip(indices, lows, strict=True)]

    def read(corner: tuple[int, ...]) -> jax.Array:
        weight, flat = jnp.ones(()), jnp.zeros((), jnp.int32)
        for axis in (2, 1, 0):
            count = size[2 - axis]
            near = lows[axis] + corner[axis]
            share = fractions[axis] if corner[axis] else 1 - fractions[axis]
            weight = weight * share * ((near >= 0) & (near <= count - 1))
            flat = flat * count + jnp.clip(near, 0, count - 1).astype(jnp.int32)
        # A vmapped gather is several times as fast on CPU as `map_coordinates`.
        values = jax.vmap(lambda plane, index: plane[index])(rows, flat)
        return values * weight[..., None]

    first, *others = itertools.product((0, 1), repeat=3)
    total = read(first)
    for corner in others:
        total = total + read(corner)
    return total.astype(volume.dtype)


def _interpolation(index: jax.Array, count: int) -> jax.Array:
    """Weights (…, n, count) by which linear interpolation at indices (…, n) reads `count` voxels;
    zero outside."""
    distance = jnp.abs(index[..., None] - np.arange(count, dtype=np.float32))
    return jnp.maximum(0.0, 1.0 - distance)


def sample_shifted(volume: jax.Array, shifts: jax.Array) -> jax.Array:
    """Reads volumes at `corner_grid` plus a constant, for several constants.

    Equal to `sample_volume` up to rounding. A shift moves every axis by itself, so three products
    with small matrices do, forward and backward, instead of a gather and its scatter.

    Args:
      volume: (b, d, h, w, c).
      shifts: (b, k, 3), x before y before z, in positions.

    Returns:
      (b, d, h, w, k, c) in the volume's number format.
    """
    size = volume.shape[1:4]
    matrices = []
    for axis, count in enumerate(size):
        grid = shifts[:, :, 2 - axis, None] + axis_grid(count)
        matrices.append(_interpolation(to_index(grid, count), count).astype(volume.dtype))
    # Interpolation must not be rounded to TF32 or bfloat16, whatever the device does by default.
    exact = jax.lax.Precision.HIGHEST
    x = jnp.einsum("bkXx,bzyxc->bkzyXc", matrices[2], volume, precision=exact)
    x = jnp.einsum("bkYy,bkzyXc->bkzYXc", matrices[1], x, precision=exact)
    return jnp.einsum("bkZz,bkzYXc->bZYXkc", matrices[0], x, precision=exact)
