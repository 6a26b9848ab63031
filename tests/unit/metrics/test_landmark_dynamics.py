"""M-LD, F-LD, M-LVD, F-LVD beside loops written out by hand."""

import numpy as np
import pytest

from talkface_jax.metrics import landmark_dynamics


@pytest.fixture
def clip():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 256, (68, 2)) + rng.normal(0, 3, (9, 68, 2))
    valid = np.ones(9, bool)
    valid[[3, 4]] = False
    return truth + rng.normal(0, 4, truth.shape) + rng.normal(0, 9, (9, 1, 2)), truth, valid


def centred(points):
    return points - points.mean(0)


def test_ours_beside_loops(clip):
    pred, truth, valid = clip
    found = landmark_dynamics.measure(pred, truth, valid=valid)
    for span, position, velocity in (
        (slice(48, 68), found.mouth, found.mouth_velocity),
        (slice(0, 68), found.face, found.face_velocity),
    ):
        distances = [
            np.hypot(*(centred(pred[t, span]) - centred(truth[t, span])).T).mean()
            for t in (0, 1, 2, 5, 6, 7, 8)
        ]
        assert position == pytest.approx(np.mean(distances))
        speeds = []
        for t in (1, 2, 6, 7, 8):
            ours = centred(pred[t, span]) - centred(pred[t - 1, span])
            theirs = centred(truth[t, span]) - centred(truth[t - 1, span])
            speeds.append(np.hypot(*(ours - theirs).T).mean())
        assert velocity == pytest.approx(np.mean(speeds))


def test_legacy_beside_the_scripts_loop(clip):
    pred, truth, valid = clip
    mouth = face = mouth_speed = face_speed = 0.0
    count, last = 0, None
    for t in range(9):
        if not valid[t]:
            continue
        ours, theirs = pred[t], truth[t]
        mouth += np.hypot(*(centred(ours[48:]) - centred(theirs[48:])).T).sum()
        face += np.hypot(*(centred(ours) - centred(theirs)).T).sum()
        if last is not None:
            change = (ours - last[0]) - (theirs - last[1])
            of_mouth = np.hypot(*change[48:].T).sum()
            mouth_speed += of_mouth
            face_speed += of_mouth
        last = ours, theirs
        count += 1
    found = landmark_dynamics.measure_legacy(pred, truth, valid=valid)
    assert found.mouth == pytest.approx(mouth / (count * 20))
    assert found.face == pytest.approx(face / (count * 68))
    assert found.mouth_velocity == pytest.approx(mouth_speed / (count * 20))
    assert found.face_velocity == pytest.approx(face_speed / (count * 68))


def test_legacy_face_velocity_is_20_of_68_parts_of_the_mouths(clip):
    pred, truth, valid = clip
    found = landmark_dynamics.measure_legacy(pred, truth, valid=valid)
    assert found.face_velocity == pytest.approx(20 / 68 * found.mouth_velocity)
    still = pred.copy()
    still[:, :48] = truth[:, :48]
    again = landmark_dynamics.measure_legacy(still, truth, valid=valid)
    assert again.face_velocity == found.face_velocity
    ours = landmark_dynamics.measure(still, truth, valid=valid)
    assert ours.face_velocity < landmark_dynamics.measure(pred, truth, valid=valid).face_velocity


def test_where_the_head_is_does_not_count_but_in_legacy(clip):
    _, truth, valid = clip
    moved = truth + np.arange(9)[:, None, None] * 5.0
    found = landmark_dynamics.measure(moved, truth, valid=valid)
    values = (found.mouth, found.face, found.mouth_velocity, found.face_velocity)
    np.testing.assert_allclose(values, 0, atol=1e-9)
    assert landmark_dynamics.measure_legacy(moved, truth, valid=valid).mouth_velocity > 5


def test_numbers_are_in_the_unit_of_the_points(clip):
    pred, truth, valid = clip
    one = landmark_dynamics.measure(pred, truth, valid=valid)
    two = landmark_dynamics.measure(2 * pred, 2 * truth, valid=valid)
    assert two.mouth == pytest.approx(2 * one.mouth)
    assert two.face_velocity == pytest.approx(2 * one.face_velocity)


@pytest.mark.parametrize("name", ["measure", "measure_legacy"])
def test_without_a_face_there_is_no_number(clip, name):
    pred, truth, valid = clip
    found = getattr(landmark_dynamics, name)(pred, truth, valid=valid & False)
    assert np.isnan([found.mouth, found.face, found.mouth_velocity, found.face_velocity]).all()
    with pytest.raises(ValueError, match=r"\(t, 68, 2\)"):
        getattr(landmark_dynamics, name)(pred[:, :20], truth[:, :20], valid=valid)


def test_one_frame_has_no_velocity(clip):
    pred, truth, valid = clip
    found = landmark_dynamics.measure(pred[:1], truth[:1], valid=valid[:1])
    assert found.mouth > 0 and np.isnan(found.mouth_velocity) and np.isnan(found.face_velocity)
