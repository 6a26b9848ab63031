"""Angles of heads and eyes: by scipy, by where an axis points, and by scores made by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talkface_jax.landmarks import pose
from talkface_jax.landmarks.blendshapes import NAMES, mirror

LOOK = pose.LOOK_DEGREES


def transforms(yaw, pitch, roll):
    """Heads of those angles, in any place."""
    angles = np.stack(np.broadcast_arrays(yaw, -np.asarray(pitch), roll), -1)
    head = np.tile(np.eye(4), (*angles.shape[:-1], 1, 1))
    turns = Rotation.from_euler("YXZ", angles.reshape(-1, 3), degrees=True)
    head[..., :3, :3] = turns.as_matrix().reshape(*angles.shape[:-1], 3, 3)
    head[..., :3, 3] = (3, -2, -40)
    return head.astype(np.float32)


def scores(**values):
    return np.array([float(values.get(name, 0)) for name in NAMES], np.float32)


def test_angles_of_any_head_come_back():
    rng = np.random.default_rng(0)
    wanted = rng.uniform(-60, 60, (2, 7, 3))
    found = pose.head_angles(transforms(*np.moveaxis(wanted, -1, 0)))
    assert found.shape == (2, 7, 3)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    one = pose.head_angles(transforms(10, 20, -30))
    assert one.shape == (3,)
    np.testing.assert_allclose(one, (10, 20, -30), atol=1e-4)


@pytest.mark.parametrize(
    ("angles", "axis", "towards"),
    [
        ((20, 0, 0), 2, (1, 0)),  # The nose towards the picture's right,
        ((0, 20, 0), 2, (0, 1)),  # or up.
        ((0, 0, 20), 0, (0, 1)),  # What was on the right goes up: anticlockwise.
    ],
    ids=["yaw", "pitch", "roll"],
)
def test_signs_by_where_an_axis_of_the_head_points(angles, axis, towards):
    """x right, y up, z towards the viewer."""
    head = np.eye(4)
    turned = np.eye(3)
    turned[axis, :2] += np.sin(np.deg2rad(20)) * np.array(towards)
    turned[axis, axis] = np.cos(np.deg2rad(20))
    # The rotation that takes the axis there by the shortest way.
    turn, _ = Rotation.align_vectors(turned[axis][None], np.eye(3)[axis][None])
    head[:3, :3] = turn.as_matrix()
    np.testing.assert_allclose(pose.head_angles(head), angles, atol=1e-6)


def test_frames_without_a_face_are_straight_and_change_no_other():
    heads = transforms(np.array([5.0, 6, 7]), 3, -2)
    heads[1] = 0
    kept = heads.copy()
    np.testing.assert_allclose(
        pose.head_angles(heads), [(5, 3, -2), (0, 0, 0), (7, 3, -2)], atol=1e-4
    )
    np.testing.assert_array_equal(heads, kept)
    np.testing.assert_array_equal(pose.head_angles(np.zeros((4, 4))), 0)
    assert pose.head_angles(np.zeros((0, 4, 4))).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "yaw", "pitch"),
    [
        # The pictured person's left is the picture's right.
        ("eyeLookOutLeft", LOOK, 0),
        ("eyeLookInLeft", -LOOK, 0),
        ("eyeLookOutRight", -LOOK, 0),
        ("eyeLookInRight", LOOK, 0),
        ("eyeLookUpLeft", 0, LOOK),
        ("eyeLookUpRight", 0, LOOK),
        ("eyeLookDownLeft", 0, -LOOK),
        ("eyeLookDownRight", 0, -LOOK),
    ],
)
def test_every_look_turns_its_own_eye(name, yaw, pitch):
    side = "Left" if name.endswith("Left") else "Right"
    other = {"Left": "Right", "Right": "Left"}[side]
    given = scores(**{name: 0.5})
    np.testing.assert_allclose(pose.eye_angles(given, side), (yaw / 2, pitch / 2))
    np.testing.assert_array_equal(pose.eye_angles(given, other), 0)
    np.testing.assert_allclose(pose.gaze_angles(given), (yaw / 4, pitch / 4))


def test_gaze_is_the_mean_of_both_eyes_frame_by_frame():
    rng = np.random.default_rng(0)
    given = rng.random((2, 5, 52)).astype(np.float32)
    both = [pose.eye_angles(given, side) for side in ("Left", "Right")]
    assert both[0].shape == (2, 5, 2) and not np.allclose(*both)
    found = pose.gaze_angles(given)
    np.testing.assert_allclose(found, (both[0] + both[1]) / 2)
    # The mirrored face looks to the other side, as high.
    np.testing.assert_allclose(pose.gaze_angles(mirror(given)), found * [-1, 1], atol=1e-12)
    crossed = scores(eyeLookInLeft=0.6, eyeLookInRight=0.6)
    np.testing.assert_allclose(pose.gaze_angles(crossed), 0, atol=1e-12)
