import numpy as np
import pytest

from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme, select


@pytest.mark.parametrize("name", ["mesh478", "iplap131", "emoconv141"])
def test_opening_is_relative_to_the_eyes(name):
    mesh = np.zeros((3, 478, 3))
    mesh[:, 33], mesh[:, 263] = [0, 0, 5], [60, 80, -5]
    mesh[:, 13, 1] = 10
    mesh[:, 14, 1] = [10, 20, 35]
    scheme = get_scheme(name)
    points = select(mesh, scheme)
    np.testing.assert_allclose(measures.eye_distance(points, scheme), [100, 100, 100])
    np.testing.assert_allclose(measures.mouth_opening(points, scheme), [0, 0.1, 0.25])


def test_frames_without_a_face_have_no_opening():
    scheme = get_scheme("iplap131")
    np.testing.assert_array_equal(measures.mouth_opening(np.zeros((2, 131, 2)), scheme), [0, 0])


def test_eyes_open_by_the_mean_of_both():
    mesh = np.zeros((2, 478, 3))
    mesh[:, 33], mesh[:, 263] = [0, 0, 0], [50, 0, 0]
    mesh[:, 145, 1], mesh[:, 374, 1] = [4, 0], [6, 0]
    np.testing.assert_allclose(measures.eye_opening(mesh), [0.1, 0])
    np.testing.assert_array_equal(measures.eye_opening(np.zeros((1, 478, 3))), [0])
