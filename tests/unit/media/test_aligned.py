import numpy as np
import pytest

from talkface_jax.landmarks import align
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.aligned import RIGID, align_face
from talkface_jax.media.images import crop_resize

SIZE = 64
HEIGHT, WIDTH = 120, 100


@pytest.fixture
def image():
    """Red grows down, green grows right, both by two levels a pixel."""
    down, right = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    return np.stack([2 * down, 2 * right, np.zeros_like(down)], -1).astype(np.uint8)


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(30, 80, (12, 2))


def test_rigid_points_are_those_of_the_static_baseline():
    scheme = get_scheme("iplap131")
    np.testing.assert_array_equal(RIGID, scheme.indices[scheme.groups["pose"]])


def test_the_face_lies_on_the_target_and_pixels_move_with_it(image, points):
    """The colour under every mapped landmark is that of its place in the frame."""
    maps = np.array([[0.011, 0.002], [-0.003, 0.012], [0.1, -0.15]])
    target = align.apply_affine(points, maps)
    found = align_face(image, points=points[:5], rigid=points, target_rigid=target, size=SIZE)
    np.testing.assert_allclose(found.points, target[:5], atol=1e-5)
    assert found.image.shape == (SIZE, SIZE, 3) and found.image.dtype == np.uint8
    for (x, y), (u, v) in zip(points[:5], target[:5], strict=True):
        if not (0.05 < u < 0.95 and 0.05 < v < 0.95):
            continue
        red, green, _ = found.image[int(v * SIZE), int(u * SIZE)].astype(float)
        assert red == pytest.approx(2 * (y - 0.5), abs=3.5)
        assert green == pytest.approx(2 * (x - 0.5), abs=3.5)


def test_points_that_do_not_fit_exactly_are_fitted_by_least_squares(image, points):
    rng = np.random.default_rng(1)
    target = points / WIDTH + rng.normal(0, 0.01, points.shape)
    found = align_face(image, points=points, rigid=points, target_rigid=target, size=SIZE)
    rows = np.column_stack([points, np.ones(len(points))])
    expected = rows @ np.linalg.lstsq(rows, target, rcond=None)[0]
    np.testing.assert_allclose(found.points, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [0.6, 3.2])
def test_without_a_change_of_pose_it_is_the_plain_crop(scale):
    """Enlarged or shrunk, as `crop_resize` cuts it."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (300, 300, 3)).astype(np.uint8)
    side = SIZE * scale
    box = np.array([20.3, 31.7, 20.3 + side, 31.7 + side])
    points = rng.uniform(0, 1, (9, 2))
    in_frame = box[:2] + points * side
    found = align_face(image, points=in_frame, rigid=in_frame, target_rigid=points, size=SIZE)
    expected = crop_resize(image, box, (SIZE, SIZE))
    difference = np.abs(found.image.astype(int) - expected)
    assert difference.mean() < 1 and difference.max() < 12


def test_outside_the_image_its_border_is_repeated(image):
    points = np.array([[10.0, 10.0], [40.0, 12.0], [20.0, 50.0], [60.0, 70.0]])
    target = (points + 30) / 200
    found = align_face(image, points=points, rigid=points, target_rigid=target, size=SIZE)
    assert (found.image[0, 0] < 2).all()
    assert found.image[0, -1, 1] > 180
