"""Lips that touch and go no further."""

import numpy as np

from talkface_jax.landmarks import lips, measures
from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.landmarks.schemes import get_scheme

SCHEME = get_scheme("ibug68")


def _mouths(*apart):
    """The mean face with inner lips so far apart, in the middle and to its sides."""
    faces = np.tile(MEAN_FACE, (len(apart), 1, 1))
    shut = faces[:, lips.BELOW, 1] - faces[:, lips.ABOVE, 1]
    faces[:, lips.BELOW, 1] += np.array(apart)[:, None] - shut
    return faces


def test_gaps_are_those_of_lips_that_face_each_other():
    np.testing.assert_allclose(lips.gaps(_mouths(0.2, -0.1)), [[0.2] * 3, [-0.1] * 3], atol=1e-12)
    opening = measures.mouth_opening(_mouths(0.3), SCHEME)
    eyes = measures.eye_distance(MEAN_FACE, SCHEME)
    np.testing.assert_allclose(opening, 0.3 / eyes, rtol=0.01)
    flipped = SCHEME.flip[lips.ABOVE], SCHEME.flip[lips.BELOW]
    np.testing.assert_array_equal(flipped, (lips.ABOVE[::-1], lips.BELOW[::-1]))


def test_lips_that_would_pass_through_each_other_meet_half_way():
    faces = _mouths(0.2, 0.0, -0.1)
    before = faces.copy()
    faces[2, lips.BELOW[0], 1] += 0.15  # Open on one side, beyond on the other two.
    met = lips.touching(faces)
    np.testing.assert_array_equal(met[:2], before[:2])
    np.testing.assert_allclose(lips.gaps(met[2]), [0.05, 0, 0], atol=1e-12)
    middle = faces[2, lips.ABOVE[1:], 1] - 0.05
    np.testing.assert_allclose(met[2, lips.ABOVE[1:], 1], middle)
    others = np.setdiff1d(np.arange(68), [lips.ABOVE[1:], lips.BELOW[1:]])
    np.testing.assert_array_equal(met[2, others], faces[2, others])
    assert measures.mouth_opening(met[2], SCHEME) < 0.01 < 0.09
    assert measures.mouth_opening(faces[2], SCHEME) > 0.09, "as open, by the measure"
