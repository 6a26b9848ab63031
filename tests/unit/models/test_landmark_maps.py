import functools

import cv2
import jax
import numpy as np
import pytest

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.models.landmark_maps import CHANNELS, heatmaps, landmark_maps, mouth_and_eyes

SCHEME = get_scheme("ibug68")
SIZE = 48
LINES = (
    ("jaw",),
    ("brow_right", "brow_left"),
    ("nose",),
    ("eye_right", "eye_left"),
    ("lips_outer",),
    ("lips_inner",),
)


@functools.cache
def compiled():
    return jax.jit(lambda points: landmark_maps(points, size=SIZE))


def maps_of(*faces):
    """The maps of two faces: (2, h, w, c)."""
    return np.asarray(compiled()(np.stack(faces)))


def distance_to_lines(points, groups, pixel):
    """The least distance to any edge within the groups, edge by edge."""
    best = np.inf
    for a, b in SCHEME.edges:
        if not any(a in SCHEME.groups[name] and b in SCHEME.groups[name] for name in groups):
            continue
        start, way = points[a], points[b] - points[a]
        along = np.clip(np.dot(pixel - start, way) / max(np.dot(way, way), 1e-12), 0, 1)
        best = min(best, np.linalg.norm(pixel - start - along * way))
    return best


def test_lines_are_gaussians_of_the_distance(face):
    points = np.stack([face(), face(eye=0.0, lips=0.1)])
    maps = maps_of(*points)
    assert maps.shape == (2, SIZE, SIZE, CHANNELS)
    rng = np.random.default_rng(0)
    for item in range(2):
        for row, column in rng.integers(0, SIZE, (40, 2)):
            pixel = np.array([column + 0.5, row + 0.5])
            for channel, groups in enumerate(LINES):
                away = distance_to_lines(points[item] * SIZE, groups, pixel)
                expected = np.exp(-0.5 * (away / 1.5) ** 2)
                assert maps[item, row, column, channel] == pytest.approx(expected, abs=1e-4)


def test_areas_are_the_polygons_inside(face):
    points = np.stack([face(), face(eye=0.01, lips=0.1)])
    maps = maps_of(*points)
    for item in range(2):
        for channel, groups in ((6, LINES[3]), (7, LINES[4]), (8, LINES[5])):
            rings = [
                (points[item, SCHEME.groups[name]] * SIZE).reshape(-1, 1, 2) for name in groups
            ]
            for row in range(SIZE):
                for column in range(SIZE):
                    at = (column + 0.5, row + 0.5)
                    signed = max(cv2.pointPolygonTest(ring, at, True) for ring in rings)
                    found = maps[item, row, column, channel]
                    assert found == pytest.approx(np.clip(0.5 + signed, 0, 1), abs=2e-3)


def test_closed_openings_have_lines_but_hardly_an_area(face):
    open_face, closed = maps_of(face(), face(eye=0.0, lips=0.0))
    for channel in (6, 8):
        assert closed[..., channel].sum() < 0.4 * open_face[..., channel].sum()
    for channel in (3, 5):
        assert closed[..., channel].max() > 0.9


def test_a_line_moves_with_its_points(face):
    """Half a pixel is seen: the profile's centre of mass moves by it."""
    rows = np.arange(SIZE) + 0.5

    maps = maps_of(face(), face() + np.float32([0, 0.5 / SIZE]))
    columns = maps[:, :, int(0.3 * SIZE), 1]
    before, after = (columns * rows).sum(1) / columns.sum(1)
    assert after - before == pytest.approx(0.5, abs=0.02)


def test_region_is_around_mouth_and_eyes(face):
    points = face()
    region = np.asarray(jax.jit(lambda x: mouth_and_eyes(x, size=SIZE, reach=0.04))(points[None]))[
        0, ..., 0
    ]
    chosen = np.concatenate([points[36:48], points[48:68]])
    for row, column in np.random.default_rng(1).integers(0, SIZE, (60, 2)):
        pixel = (np.array([column, row]) + 0.5) / SIZE
        nearest = np.linalg.norm(chosen - pixel, axis=1).min()
        expected = np.exp(-0.5 * (nearest / 0.04) ** 2)
        assert region[row, column] == pytest.approx(expected, abs=1e-4)


def test_heatmaps_are_gaussians_about_the_points():
    points = np.random.default_rng(0).uniform(0.1, 0.9, (2, 5, 2)).astype(np.float32)
    points[0, 0] = (10.5 / SIZE, 20.5 / SIZE)
    found = np.asarray(heatmaps(points, size=SIZE, sigma=2.5))
    assert found.shape == (2, SIZE, SIZE, 5)
    assert found[0, 20, 10, 0] == pytest.approx(1, abs=1e-5)
    for row, column in ((0, 0), (20, 10), (31, 7), (12, 40)):
        pixel = np.array([column, row]) + 0.5
        squares = np.square(pixel - points * SIZE).sum(-1)
        np.testing.assert_allclose(
            found[:, row, column], np.exp(-0.5 * squares / 2.5**2), atol=1e-6
        )
