import numpy as np
import pytest

from talkface_jax.landmarks import references


def test_references_are_spread_over_lip_openness():
    opening = np.array([0.5, 0.1, 9.0, 0.3, 0.2, 0.4])
    valid = np.array([True, True, False, True, True, True])
    np.testing.assert_array_equal(references.spread(opening, valid=valid, count=5), [1, 4, 3, 5, 0])
    np.testing.assert_array_equal(references.spread(opening, valid=valid, count=3), [1, 3, 0])
    assert set(references.spread(opening, valid=valid, count=40)) == {0, 1, 3, 4, 5}
    with pytest.raises(ValueError, match="no valid frame"):
        references.spread(opening, valid=~valid & (opening < 1), count=2)


def test_openness_of_a_mesh_is_relative_to_the_face():
    mesh = np.zeros((3, 478, 3))
    mesh[:, 263, 0] = [100, 200, 100]
    mesh[:, 14, 1] = [10, 15, 5]
    chosen = references.spread_of_mesh(mesh, valid=np.ones(3, bool), count=3)
    np.testing.assert_array_equal(chosen, [2, 1, 0])


def test_the_nearest_frame_with_a_face():
    valid = np.array([False, True, False, False, True, False])
    np.testing.assert_array_equal(references.nearest_valid(valid), [1, 1, 1, 4, 4, 4])
    valid = np.array([True, False, True])
    np.testing.assert_array_equal(references.nearest_valid(valid), [0, 0, 2])
    with pytest.raises(ValueError, match="no valid frame"):
        references.nearest_valid(np.zeros(3, bool))
