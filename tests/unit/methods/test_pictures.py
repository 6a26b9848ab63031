"""Pictures for TensorBoard: how many, of which size, and what lies over what."""

import numpy as np
import pytest

from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.methods import pictures

SIZE = pictures.SIZE
LINE = np.array([[0, 1]])


def horizontal(items, frames, y):
    """Two points at the height y, the same in all frames."""
    return np.broadcast_to(np.array([[0.25, y], [0.75, y]]), (items, frames, 2, 2))


@pytest.mark.parametrize(("items", "columns"), [(2, 2), (9, pictures.SHOWN)])
def test_items_lie_side_by_side_and_the_middle_frame_is_the_picture(items, columns):
    true = horizontal(items, 5, 0.5).copy()
    true[..., 1] += 0.05 * np.arange(5)[:, None]
    shown = pictures.moving_faces(true, true, edges=LINE, unit=SIZE, centre=0)
    video = shown.videos["landmarks"]
    assert video.shape == (5, SIZE, columns * SIZE, 3) and video.dtype == np.uint8
    np.testing.assert_array_equal(shown.images["landmarks"], video[2])
    assert (video[2] != video[1]).any()


def drawn(*layers):
    canvas = np.full((SIZE, SIZE, 3), 255, np.uint8)
    for points, colour in layers:
        draw_wireframe(canvas, points[0, 0] * SIZE, LINE, colour)
    return canvas


def test_predicted_is_drawn_over_true():
    flat, tilted = horizontal(1, 1, 0.5), horizontal(1, 1, 0.5).copy()
    tilted[..., 1, 1] = 0.75
    under, over = (flat, pictures.TRUE_COLOUR), (tilted, pictures.PREDICTED_COLOUR)
    found = pictures.moving_faces(flat, tilted, edges=LINE, unit=SIZE, centre=0)
    np.testing.assert_array_equal(found.images["landmarks"], drawn(under, over))
    # They cross, so the order is seen.
    assert (drawn(under, over) != drawn(over, under)).any()


def test_unit_and_centre_place_the_points():
    points = np.array([[[[-1.0, 0.0], [1.0, 0.0]]]])
    shown = pictures.moving_faces(points, points, edges=LINE, unit=30, centre=SIZE / 2)
    columns = np.flatnonzero((shown.images["landmarks"] != 255).any((0, 2)))
    assert abs(columns.min() - (SIZE // 2 - 30)) <= 1
    assert abs(columns.max() - (SIZE // 2 + 30)) <= 1
    rows = np.flatnonzero((shown.images["landmarks"] != 255).any((1, 2)))
    assert abs(rows - SIZE // 2).max() <= 1


def test_rows_show_the_cells_of_the_first_items():
    def cells(item):
        return [np.full((2, 3, 3), 10 * item + column, np.uint8) for column in range(4)]

    for items in (1, 4, 20):
        grid = pictures.rows(items, cells).images["faces"]
        count = min(items, pictures.SHOWN)
        assert grid.shape == (2 * count, 3 * 4, 3)
        expected = 10 * np.arange(count)[:, None] + np.arange(4)
        np.testing.assert_array_equal(grid[::2, ::3, 0], expected)
