import itertools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.volume_warp import (
    axis_grid,
    corner_grid,
    sample_shifted,
    sample_volume,
)

SIZE = (3, 5, 4)


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).normal(size=(2, *SIZE, 3)).astype(np.float32)


def reference(volume, positions):
    """Voxel by voxel, in float64; positions are x, y, z of the outer edges at -1 and 1."""
    out = np.zeros((*positions.shape[:-1], volume.shape[-1]))
    for place in np.ndindex(positions.shape[:-1]):
        x, y, z = positions[place].astype(np.float64)
        index = [((p + 1) * n - 1) / 2 for p, n in zip((z, y, x), SIZE, strict=True)]
        low = [int(np.floor(i)) for i in index]
        for corner in itertools.product((0, 1), repeat=3):
            near = [a + b for a, b in zip(low, corner, strict=True)]
            weight = np.prod([1 - abs(i - a) for i, a in zip(index, near, strict=True)])
            if all(0 <= a < n for a, n in zip(near, SIZE, strict=True)):
                out[place] += weight * volume[(place[0], *near)]
    return out


def centres():
    """Positions (d, h, w, 3) at which sampling is the identity."""
    z, y, x = ((2 * np.arange(n) + 1) / n - 1 for n in SIZE)
    grid = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None, None]), -1)
    return np.broadcast_to(grid, (2, *grid.shape)).astype(np.float32)


def test_arbitrary_positions_inside_and_outside(volume):
    positions = np.random.default_rng(1).uniform(-1.6, 1.6, (2, 4, 3, 6, 3)).astype(np.float32)
    found = sample_volume(jnp.asarray(volume), jnp.asarray(positions))
    np.testing.assert_allclose(found, reference(volume, positions), atol=1e-5)


def test_voxel_centres_are_the_identity(volume):
    found = sample_volume(jnp.asarray(volume), jnp.asarray(centres()))
    np.testing.assert_allclose(found, volume, atol=1e-5)


def test_a_whole_voxel_moves_the_volume_along_the_axis_that_is_named(volume):
    for axis in range(3):
        step = np.zeros(3, np.float32)
        step[axis] = 2 / SIZE[2 - axis]
        found = np.asarray(sample_volume(jnp.asarray(volume), jnp.asarray(centres() + step)))
        moved = np.roll(volume, -1, 3 - axis)
        last = [slice(None)] * 5
        last[3 - axis] = slice(-1, None)
        moved[tuple(last)] = 0
        np.testing.assert_allclose(found, moved, atol=1e-5)


def test_corner_grid_is_no_identity_and_scales_about_the_centre(volume):
    grid = corner_grid(SIZE)
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(grid[0, 0, 0], [-1, -1, -1])
    np.testing.assert_array_equal(grid[-1, -1, 0], [-1, 1, 1])
    np.testing.assert_array_equal(grid[0, 0, 1], [np.float32(2 / 3) - 1, -1, -1])
    positions = jnp.broadcast_to(grid, (2, *grid.shape))
    found = np.asarray(sample_volume(jnp.asarray(volume), positions))
    # The corner voxel is read half a voxel further out along every axis.
    np.testing.assert_allclose(found[:, 0, 0, 0], volume[:, 0, 0, 0] / 8, atol=1e-6)
    np.testing.assert_allclose(found[:, 1, 2, :1], volume[:, 1, 2, :1] / 2, atol=1e-6)


def test_shifts_equal_the_gather(volume):
    shifts = np.random.default_rng(2).normal(0, 0.4, (2, 6, 3)).astype(np.float32)
    shifts[:, 0] = 0
    shifts[:, 1] = 3
    found = np.asarray(sample_shifted(jnp.asarray(volume), jnp.asarray(shifts)))
    assert found.shape == (2, *SIZE, 6, 3)
    for index in range(6):
        positions = corner_grid(SIZE) + shifts[:, None, None, None, index]
        expected = sample_volume(jnp.asarray(volume), jnp.asarray(positions))
        np.testing.assert_allclose(found[..., index, :], expected, atol=1e-5)
    assert not found[..., 1, :].any()


def test_gradients_of_both_agree(volume):
    rng = np.random.default_rng(3)
    shift = jnp.asarray(rng.uniform(-0.2, 0.2, (2, 1, 3)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=volume.shape), jnp.float32)

    def gathered(volume, shift):
        grid = corner_grid(SIZE) + shift[:, :, None, None]
        return jnp.sum(weights * sample_volume(volume, grid))

    def shifted(volume, shift):
        return jnp.sum(weights * sample_shifted(volume, shift)[..., 0, :])

    first, second = (jax.grad(f, (0, 1))(jnp.asarray(volume), shift) for f in (gathered, shifted))
    for ours, theirs in zip(first, second, strict=True):
        assert float(jnp.abs(theirs).max()) > 0.1
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_axis_of_two_voxels():
    np.testing.assert_array_equal(axis_grid(2), [-1, 1])


def test_the_warp_is_exported_as_plain_operations(volume):
    specs = [jax.ShapeDtypeStruct(volume.shape, jnp.float32)] * 2
    exported = jax.export.export(jax.jit(sample_volume))(*specs)
    text = exported.mlir_module()
    assert "stablehlo.gather" in text and "custom_call" not in text
    found = exported.call(jnp.asarray(volume), jnp.asarray(centres()))
    np.testing.assert_allclose(found, volume, atol=1e-5)
