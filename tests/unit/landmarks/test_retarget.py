"""Normalised motion of made-up heads: cameras and people must vanish from it, motion must stay."""

import numpy as np
import pytest

from talkface_jax.landmarks import retarget
from talkface_jax.landmarks.schemes import get_scheme

IBUG = get_scheme("ibug68")
MESH = get_scheme("mesh478")
LIPS = IBUG.indices[IBUG.groups["lips"]]
FRAMES = 12
VALID = np.ones(FRAMES, bool)
REFERENCES = np.array([0, 3, 5, 8, 11])


def head():
    """The mean face with the depth of an ellipsoid, so as symmetric as the mean face."""
    flat = retarget.mean_mesh()
    depth = -np.sqrt(np.maximum(1.4 - flat[:, 0] ** 2 - 0.5 * flat[:, 1] ** 2, 0.05))
    return np.concatenate([flat, depth[:, None]], -1)


def speech(seed=0):
    """Displacements (t, 478, 3) of the lips whose mean over the references is 0."""
    moved = np.zeros((FRAMES, 478, 3))
    moved[:, LIPS, :2] = np.random.default_rng(seed).normal(0, 0.05, (FRAMES, len(LIPS), 2))
    return moved - moved[REFERENCES].mean(0)


def rotation(angles):
    roll, yaw, pitch = angles
    c, s = np.cos, np.sin
    return (
        np.array([[c(roll), s(roll), 0], [-s(roll), c(roll), 0], [0, 0, 1]])
        @ np.array([[c(yaw), 0, s(yaw)], [0, 1, 0], [-s(yaw), 0, c(yaw)]])
        @ np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    )


def film(mesh, *, seed, turn=0.0):
    """The head in pixels under random scale, shift and roll, and turned by up to `turn`."""
    rng = np.random.default_rng(seed)
    seen = []
    for frame in mesh:
        angles = rng.uniform(-1, 1, 3) * (0.3, turn, turn)
        shift = np.array([320, 200, 0]) + rng.uniform(-30, 30, 3)
        seen.append(frame @ rotation(angles) * rng.uniform(80, 120) + shift)
    return np.stack(seen)


def normalise(mesh, valid=VALID):
    return retarget.normalise(mesh, valid=valid, references=REFERENCES)


def test_mean_face_is_upright_centred_and_of_unit_size():
    face = retarget.MEAN_FACE
    assert face.shape == (68, 2) and not face.flags.writeable
    np.testing.assert_allclose(face.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(retarget.mirror(face), face, atol=1e-12)
    corners = face[[IBUG.position(33), IBUG.position(263)]]
    np.testing.assert_allclose(corners[1] - corners[0], [1, 0], atol=1e-12)
    # Chin below the nose: y grows downwards.
    assert face[IBUG.position(152), 1] > face[IBUG.position(4), 1]


def test_motion_survives_what_the_camera_does():
    """In-plane motion of the head changes nothing; the numbers are those of the displacement."""
    moved = speech()
    found = [normalise(film(head() + moved, seed=seed)) for seed in (1, 2)]
    expected = moved[:, IBUG.indices, :2]
    for item in found:
        np.testing.assert_allclose(item.scale, 1, atol=1e-9)
        np.testing.assert_allclose(item.neutral, retarget.MEAN_FACE, atol=1e-9)
        np.testing.assert_allclose(item.offsets, expected, atol=1e-9)


def test_a_turning_head_that_does_not_speak_has_no_motion():
    mesh = film(np.tile(head(), (FRAMES, 1, 1)), seed=3, turn=0.3)
    found = normalise(mesh)
    np.testing.assert_allclose(found.offsets, 0, atol=1e-9)
    # It is the parallax that does it: the best affine maps alone leave the outline moving.
    rigid = np.array([5, 4, 275, 45, 33, 133, 362, 263, 162, 389, 93, 323])
    still = mesh[0, :, :2]
    basis = np.c_[still[rigid], np.ones(len(rigid))]
    maps = [np.linalg.lstsq(basis, frame[rigid, :2], rcond=None)[0] for frame in mesh]
    flat = np.stack([np.c_[still, np.ones(478)] @ one for one in maps])
    error = np.linalg.norm(flat - mesh[..., :2], axis=-1)[:, IBUG.indices[IBUG.groups["jaw"]]]
    assert error.mean() > 0.02 * 100


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_retargeting_inverts_normalising(turn):
    mesh = film(head() * (0.9, 1.15, 1) + speech(), seed=4, turn=turn)
    found = normalise(mesh)
    np.testing.assert_allclose(
        retarget.retarget(found.offsets, found), mesh[:, IBUG.indices, :2], atol=1e-9
    )
    assert np.abs(found.offsets).max() > 0.05


def test_motion_is_the_same_whoever_makes_it():
    """A face of other proportions that moves in proportion has the same normalised motion."""
    one, other = head(), head() * (0.8, 1.2, 1)
    moved = speech()
    a = normalise(film(one + moved, seed=5))
    b = normalise(film(other + moved * (0.8, 1.2, 1), seed=6))
    assert np.abs(b.scale - a.scale).min() > 0.1
    np.testing.assert_allclose(a.offsets, b.offsets, atol=1e-9)
    # And so it passes from one to the other.
    onto = retarget.retarget(a.offsets, b)
    own = retarget.retarget(b.offsets, b)
    np.testing.assert_allclose(onto, own, atol=1e-6)


def test_width_and_height_count_apart():
    wide = normalise(film(head() * (1.2, 1, 1) + speech(), seed=7))
    plain = normalise(film(head() + speech(), seed=7))
    # The same displacement is worth less on a wider face, across and not up or down.
    across, down = (
        np.abs(wide.offsets / np.where(plain.offsets == 0, 1, plain.offsets))[
            :, IBUG.groups["lips"]
        ]
        .reshape(-1, 2)
        .T
    )
    np.testing.assert_allclose(across, 1 / 1.2, rtol=1e-6)
    np.testing.assert_allclose(down, 1, rtol=1e-6)


def test_frames_without_a_face_take_the_nearest():
    mesh = film(head() + speech(), seed=8)
    valid = VALID.copy()
    valid[[1, 2, 6]] = False
    broken = np.where(valid[:, None, None], mesh, np.nan)
    found, whole = normalise(broken, valid), normalise(mesh)
    for name in ("maps", "parallax", "offsets"):
        value, expected = getattr(found, name), getattr(whole, name)
        np.testing.assert_allclose(value, expected[[0, 0, 3, 3, 4, 5, 5, 7, 8, 9, 10, 11]])
    np.testing.assert_allclose(found.neutral, whole.neutral)


def test_mirroring_the_face_mirrors_the_motion():
    mesh = film(head() + speech(), seed=9)
    mirrored = mesh[:, MESH.flip] * (-1, 1, 1) + (640, 0, 0)
    offsets = normalise(mesh).offsets
    np.testing.assert_allclose(normalise(mirrored).offsets, retarget.mirror(offsets), atol=1e-9)
    np.testing.assert_array_equal(retarget.mirror(retarget.mirror(offsets)), offsets)
    assert np.abs(retarget.mirror(offsets) - offsets).max() > 0.05


def test_what_cannot_be_done_is_refused():
    mesh = film(head() + speech(), seed=10)
    with pytest.raises(ValueError, match="no reference"):
        retarget.normalise(mesh, valid=VALID, references=np.zeros(0, int))
    with pytest.raises(ValueError, match="no valid frame"):
        normalise(mesh, ~VALID)
    found = normalise(mesh)
    with pytest.raises(ValueError, match=r"\(12, 68, 2\), not \(11, 68, 2\)"):
        retarget.retarget(found.offsets[:-1], found)


def test_frames_can_be_chosen_and_repeated():
    found = normalise(film(head() + speech(), seed=11, turn=0.3))
    frames = np.array([4, 4, 0])
    chosen = found.at(frames)
    whole = retarget.retarget(found.offsets, found)
    np.testing.assert_array_equal(retarget.retarget(chosen.offsets, chosen), whole[frames])
