"""Frames that lose the face count against the system, by value."""

import numpy as np
import pytest

from talkface_jax.errors import FaceError
from talkface_jax.evaluate import lost
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import landmark

SCHEME = schemes.get_scheme("iplap131")


def moved(points, by):
    """Every point so far to the right, by frame, in eye distances of the truth."""
    eyes = np.linalg.norm(points[:, SCHEME.position(33)] - points[:, SCHEME.position(263)], axis=-1)
    return points + (np.asarray(by) * eyes)[:, None, None] * np.array([1.0, 0.0])


def test_a_lost_frame_is_as_far_as_the_worst_of_the_clip(faces):
    truth = faces[0][:5]
    valid, seen = np.array([1, 1, 1, 1, 0], bool), np.array([1, 1, 0, 1, 0], bool)
    # Seen: 1, 4 and 2 %; the lost frame lies where the fill put it, which must not count.
    pred = moved(truth, [0.01, 0.04, 0.0, 0.02, 0.5])
    near, far = moved(truth, [0.0] * 5), moved(truth, [0.0, 0.07, 0.0, 0.0, 0.9])
    for still, worst in ((near, 4.0), (far, 7.0)):
        found = lost.distances(pred, truth, still, valid=valid, seen=seen)
        for name in ("lip_distance", "jaw_distance", "face_distance"):
            assert found[name] == pytest.approx((1 + 4 + 2 + worst) / 4), name
    whole = lost.distances(pred, truth, near, valid=seen, seen=seen)
    assert whole["lip_distance"] == pytest.approx(
        landmark.group_distances(pred, truth, valid=seen)["lips"]
    )


def test_the_mouth_is_closed_where_the_face_is_lost(faces):
    points, seen = faces[0][:4], np.array([1, 0, 1, 0], bool)
    opening = landmark.mouth_opening(lost.closed(points, seen=seen))
    np.testing.assert_array_equal(opening[~seen], 0)
    np.testing.assert_array_equal(opening[seen], landmark.mouth_opening(points)[seen])


def test_more_than_half_lost_is_a_failure():
    valid = np.array([1, 1, 1, 1, 0, 0], bool)
    lost.require_most(np.array([1, 1, 0, 0, 0, 0], bool), valid=valid, name="a.mp4")
    with pytest.raises(FaceError, match=r"a.mp4 shows no face in 3 of the 4 frames in which its"):
        lost.require_most(np.array([1, 0, 0, 0, 1, 1], bool), valid=valid, name="a.mp4")
