import numpy as np
import pytest

from talkface_jax.landmarks import schemes
from talkface_jax.metrics import landmark

SCHEME = schemes.get_scheme("iplap131")


@pytest.fixture
def truth():
    """A random face whose outer eye corners are 50 px apart, and 100 in the second frame."""
    points = np.random.default_rng(0).uniform(0, 200, (2, 131, 2))
    right, left = SCHEME.position(33), SCHEME.position(263)
    points[:, right] = (60, 80)
    points[0, left], points[1, left] = (110, 80), (60, 180)
    return points


def test_distances_are_per_cent_of_the_true_eye_distance(truth):
    pred = truth.copy()
    pred[:, SCHEME.groups["lips"]] += (3, 4)
    valid = np.array([True, True])
    found = landmark.group_distances(pred, truth, valid=valid)
    assert found["lips"] == pytest.approx((10 + 5) / 2)
    assert found["jaw"] == 0
    assert found["face"] == pytest.approx((10 + 5) / 2 * 40 / 131)
    only_first = landmark.group_distances(pred, truth, valid=np.array([True, False]))
    assert only_first["lips"] == pytest.approx(10)


def test_no_valid_frame_gives_no_number(truth):
    found = landmark.group_distances(truth, truth, valid=np.array([False, False]))
    assert all(np.isnan(value) for value in found.values())


def test_another_scheme_is_refused(truth):
    with pytest.raises(ValueError, match="131"):
        landmark.point_distances(truth[:, :57], truth[:, :57])


def test_alignment_removes_similarity_but_not_the_mouths_shape(truth):
    angle, content = 0.3, SCHEME.groups["content"]
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(landmark.pose_aligned(truth @ turn + 30, truth), truth, atol=1e-3)
    opened = truth.copy()
    opened[:, content, 1] += 6
    aligned = landmark.pose_aligned(opened @ turn + 30, truth)
    np.testing.assert_allclose(aligned, opened, atol=1e-3)


def test_mouth_opening_is_relative_to_the_own_eyes(truth):
    truth[:, SCHEME.position(13)], truth[:, SCHEME.position(14)] = (90, 120), (90, 130)
    np.testing.assert_allclose(landmark.mouth_opening(truth), [0.2, 0.1])
    np.testing.assert_allclose(landmark.mouth_opening(3 * truth), [0.2, 0.1])
