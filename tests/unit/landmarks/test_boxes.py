import numpy as np
import pytest

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import boxes


def face(frames, *, centre=(100.0, 80.0), size=(40.0, 60.0)):
    """Frames of points whose tight box has that centre and size."""
    rng = np.random.default_rng(0)
    unit = rng.uniform(-0.5, 0.5, (frames, 20, 2))
    unit[:, 0], unit[:, 1] = -0.5, 0.5
    return unit * size + centre


def test_margin_is_relative_to_the_box():
    made = boxes.crop_boxes(face(4), valid=np.ones(4, bool), margin=0.2, smooth=0)
    np.testing.assert_allclose(made, np.tile([[76, 44, 124, 116]], (4, 1)), atol=1e-4)


def test_faceless_frames_are_interpolated():
    points = np.concatenate(
        [face(1, centre=(0, 0)), face(3, centre=(9, 9)), face(1, centre=(8, 0))]
    )
    valid = np.array([True, False, False, False, True])
    made = boxes.crop_boxes(points, valid=valid, margin=0, smooth=0)
    centre = (made[:, :2] + made[:, 2:]) / 2
    np.testing.assert_allclose(centre, [[0, 0], [2, 0], [4, 0], [6, 0], [8, 0]], atol=1e-5)


def test_smoothing_equals_scipy_and_keeps_a_still_face_still():
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(1)
    shift = rng.normal(0, 5, (50, 1, 2))
    points = face(50) * 0 + face(1) + shift
    made = boxes.crop_boxes(points, valid=np.ones(50, bool), margin=0, smooth=3)
    expected = gaussian_filter1d(np.array([100.0, 80.0]) + shift[:, 0], 3, axis=0, mode="nearest")
    np.testing.assert_allclose((made[:, :2] + made[:, 2:]) / 2, expected, atol=1e-4)
    still = boxes.crop_boxes(np.repeat(face(1), 50, 0), valid=np.ones(50, bool))
    np.testing.assert_allclose(still, np.repeat(still[:1], 50, 0), atol=1e-4)


def test_no_face_at_all():
    with pytest.raises(FaceError, match="no frame with a face"):
        boxes.crop_boxes(face(3), valid=np.zeros(3, bool))


def test_record_boxes_are_square_and_wide():
    made = boxes.record_boxes(face(3), valid=np.ones(3, bool), size=(200, 300))
    np.testing.assert_allclose(made, np.tile([[52, 32, 148, 128]], (3, 1)), atol=1e-3)
    none = boxes.record_boxes(face(2), valid=np.zeros(2, bool), size=(200, 300))
    np.testing.assert_allclose(none, np.tile([[50, 0, 250, 200]], (2, 1)))


@pytest.mark.parametrize("dims", [2, 3])
def test_box_coordinates(dims):
    box = np.array([[10, 20, 50, 100], [0, 0, 10, 10]], np.float32)
    points = np.zeros((2, 1, dims), np.float32)
    points[:, 0, :2] = [30, 40]
    points[..., 2:] = 8
    local = boxes.to_box(points, box)
    np.testing.assert_allclose(local[0, 0], [0.5, 0.25, 0.2][:dims])
    np.testing.assert_allclose(local[1, 0], [3, 4, 0.8][:dims])
    np.testing.assert_allclose(boxes.from_box(local, box), points, rtol=1e-6)


def test_geometry_holds_the_points_of_its_boxes():
    landmarks = np.random.default_rng(2).uniform(50, 90, (6, 478, 3))
    valid = np.array([1, 1, 0, 1, 1, 1], bool)
    made = boxes.crop_geometry(landmarks, valid=valid, margin=0.5, smooth=2)
    assert made.points.shape == (6, 131, 2) and made.boxes.shape == (6, 4)
    back = boxes.from_box(made.points, made.boxes)
    np.testing.assert_allclose(back[0, 0], landmarks[0, 162, :2], rtol=1e-5)
    assert made.points[valid].min() > 0 and made.points[valid].max() < 1
