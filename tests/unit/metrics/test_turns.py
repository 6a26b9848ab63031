"""Whether head and eyes turn with the truth's: what is left out, signs, and what stands still."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talkface_jax.landmarks.blendshapes import POSITION
from talkface_jax.metrics import turns
from talkface_jax.metrics.sync import MIN_PAIRS
from talkface_jax.records import FaceTrack

FRAMES = 100
NAMES = ("yaw_correlation", "pitch_correlation", "gaze_correlation")


def wave(amplitude, period, frames=FRAMES):
    return amplitude * np.sin(2 * np.pi * np.arange(frames) / period)


def make_track(*, yaw=0.0, pitch=0.0, across=0.0, up=0.0, blink=0.0, frames=FRAMES):
    """A head of those angles in degrees; eyes by their look scores, signed; and lids."""
    angles = [np.broadcast_to(x, frames) for x in (yaw, -np.asarray(pitch), 0.0)]
    head = np.tile(np.eye(4), (frames, 1, 1))
    head[:, :3, :3] = Rotation.from_euler("YXZ", np.stack(angles, -1), degrees=True).as_matrix()
    scores = np.zeros((frames, 52))
    for name, value in {
        "eyeLookOutLeft": np.maximum(across, 0),
        "eyeLookInRight": np.maximum(across, 0),
        "eyeLookInLeft": np.maximum(-np.asarray(across), 0),
        "eyeLookOutRight": np.maximum(-np.asarray(across), 0),
        "eyeLookUpLeft": np.maximum(up, 0),
        "eyeLookUpRight": np.maximum(up, 0),
        "eyeLookDownLeft": np.maximum(-np.asarray(up), 0),
        "eyeLookDownRight": np.maximum(-np.asarray(up), 0),
        "eyeBlinkLeft": blink,
    }.items():
        scores[:, POSITION[name]] = value
    return FaceTrack(
        landmarks=np.zeros((frames, 478, 3), np.float32),
        blendshapes=scores.astype(np.float32),
        head=head.astype(np.float32),
        box=np.zeros((frames, 4), np.float32),
        valid=np.ones(frames, bool),
        size=(100, 100),
    )


ALL = np.ones(FRAMES, bool)
LIVELY = {
    "yaw": wave(10, 40),
    "pitch": wave(6, 25),
    "across": wave(0.5, 30),
    "up": wave(0.3, 17),
}


def of(pred, truth, *, valid=ALL):
    found = turns.correlations(pred, truth, valid=valid)
    assert tuple(found) == NAMES
    return np.array(list(found.values()))


def test_a_track_turns_as_itself_and_a_still_one_with_nothing():
    truth = make_track(**LIVELY)
    np.testing.assert_allclose(of(truth, truth), 1)
    np.testing.assert_array_equal(of(make_track(yaw=5, pitch=3, across=0.2), truth), 0)


def test_neither_size_nor_place_of_the_motion_matters():
    truth = make_track(**LIVELY)
    less = make_track(**{name: 0.5 * value + 0.1 for name, value in LIVELY.items()})
    np.testing.assert_allclose(of(less, truth), 1, atol=1e-4)


def test_what_turns_the_other_way_is_negative():
    truth = make_track(**LIVELY)
    for name, place in (("yaw", 0), ("pitch", 1)):
        other = make_track(**LIVELY | {name: -LIVELY[name]})
        expected = np.ones(3)
        expected[place] = -1
        np.testing.assert_allclose(of(other, truth), expected, atol=1e-4)
    mirrored = make_track(**LIVELY | {"across": -LIVELY["across"], "up": -LIVELY["up"]})
    np.testing.assert_allclose(of(mirrored, truth), (1, 1, -1), atol=1e-4)


def test_gaze_is_one_correlation_over_both_angles():
    truth = make_track(**LIVELY)
    pred = make_track(**LIVELY | {"up": -LIVELY["up"]})
    across, up = (30 * (x - x.mean()) for x in (LIVELY["across"], LIVELY["up"]))
    ours, theirs = (np.concatenate([across, sign * up]) for sign in (-1, 1))
    expected = np.corrcoef(ours, theirs)[0, 1]
    assert 0 < expected < 1
    assert of(pred, truth)[2] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["yaw", "pitch"])
def test_a_truth_that_does_not_turn_says_nothing(name):
    place = {"yaw": 0, "pitch": 1}[name]
    trembling = make_track(**LIVELY | {name: 0.06 * LIVELY[name]})
    found = of(make_track(**LIVELY), trembling)
    assert np.isnan(found).tolist() == [index == place for index in range(3)]
    steady = of(make_track(**LIVELY), make_track(**LIVELY | {"across": 0.2, "up": 0.1}))
    assert np.isnan(steady).tolist() == [False, False, True]


@pytest.mark.parametrize("frames", [0, 1, MIN_PAIRS - 1])
def test_few_frames_say_nothing(frames):
    truth = make_track(**LIVELY)
    assert np.isnan(of(truth, truth, valid=np.arange(FRAMES) < frames)).all()
    np.testing.assert_allclose(of(truth, truth, valid=np.arange(FRAMES) < MIN_PAIRS), 1)


def test_frames_that_do_not_count_are_left_out():
    truth = make_track(**LIVELY)
    pred = make_track(**LIVELY)
    for field in ("head", "blendshapes"):
        getattr(pred, field)[40:60] = 0
    valid = np.ones(FRAMES, bool)
    valid[40:60] = False
    np.testing.assert_allclose(of(pred, truth, valid=valid), 1)
    assert (of(pred, truth) < 0.99).all()


@pytest.mark.parametrize("whose", ["pred", "truth"])
def test_eyes_are_not_judged_behind_a_lid(whose):
    """A blink makes the tracker see the eyes look down."""
    shut = np.isin(np.arange(FRAMES) % 25, (5, 6, 7, 8))
    seen = make_track(**LIVELY)
    fooled = make_track(**LIVELY | {"up": np.where(shut, -1.0, LIVELY["up"])}, blink=0.9 * shut)
    pair = (fooled, seen) if whose == "pred" else (seen, fooled)
    np.testing.assert_allclose(of(*pair), 1)
    half = dataclasses.replace(fooled, blendshapes=fooled.blendshapes.copy())
    half.blendshapes[:, POSITION["eyeBlinkLeft"]] *= 0.5 / 0.91
    pair = (half, seen) if whose == "pred" else (seen, half)
    assert of(*pair)[2] < 0.9


def test_a_face_that_hardly_opens_its_eyes_has_no_gaze():
    truth, closed = make_track(**LIVELY), make_track(**LIVELY, blink=0.8)
    found = of(closed, truth)
    np.testing.assert_allclose(found[:2], 1)
    assert np.isnan(found[2])


def test_the_convention_names_its_thresholds():
    (text,) = turns.CONVENTIONS.values()
    assert f"{turns.SHUT:g}" in text and f"{turns.STILL:g} degrees" in text
