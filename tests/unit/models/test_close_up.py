import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models import close_up

SIZE = 64
LIPS = get_scheme("ibug68").groups["lips"]


def points_around(*middles):
    """Lips spread evenly around each middle; all other points elsewhere."""
    ring = 2 * np.pi * np.arange(len(LIPS)) / len(LIPS)
    points = np.full((len(middles), 68, 2), 0.03, np.float32)
    for item, middle in enumerate(middles):
        points[item, LIPS] = middle + 0.1 * np.stack([np.cos(ring), np.sin(ring)], -1)
    return jnp.asarray(points)


def pixel_numbers(count):
    """Every pixel holds its row and its column."""
    grid = np.indices((SIZE, SIZE)).transpose(1, 2, 0)
    return jnp.asarray(np.broadcast_to(grid, (count, SIZE, SIZE, 2)), jnp.float32)


def test_window_lies_around_the_lips_of_each_item():
    points = points_around((0.5, 0.7), (0.4, 0.5))
    cut = np.asarray(jax.jit(close_up.mouth)(pixel_numbers(2), points))
    assert cut.shape == (2, 24, 32, 2)
    assert close_up.window(SIZE) == (24, 32)
    for item, (x, y) in enumerate(((0.5, 0.7), (0.4, 0.5))):
        rows, columns = cut[item, :, 0, 0], cut[item, 0, :, 1]
        np.testing.assert_array_equal(np.diff(rows), 1)
        np.testing.assert_array_equal(np.diff(columns), 1)
        assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(y * SIZE, abs=0.51)
        assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(x * SIZE, abs=0.51)


def test_window_stays_inside_the_crop():
    cut = np.asarray(close_up.mouth(pixel_numbers(2), points_around((0.02, 0.98), (1.2, -0.3))))
    assert cut[0, -1, 0].tolist() == [SIZE - 1, 0]
    assert cut[1, 0, -1].tolist() == [0, SIZE - 1]


def test_gradient_reaches_the_pixels_of_the_window_alone():
    points = points_around((0.5, 0.7))

    def total(images, points):
        return jnp.sum(close_up.mouth(images, points))

    images, moved = jax.grad(total, (0, 1))(jnp.zeros((1, SIZE, SIZE, 1)), points)
    assert float(images.sum()) == 24 * 32
    assert set(np.unique(images)) == {0.0, 1.0}
    assert not np.any(moved)
