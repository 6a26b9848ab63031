"""What is measured of a clip whose emotion is known, on made-up tracks."""

import numpy as np
import pytest

from talkface_jax.evaluate import expression
from talkface_jax.evaluate.expression import Expected
from talkface_jax.features import ctc29, emotion
from talkface_jax.landmarks import schemes
from talkface_jax.metrics import closure, landmark_dynamics
from talkface_jax.records import EMOTIONS, FaceTrack

FRAMES = 20
HAPPY = EMOTIONS.index("happy")


@pytest.fixture
def track():
    rng = np.random.default_rng(0)
    valid = np.ones(FRAMES, bool)
    valid[[3, 4]] = False
    box = np.tile(np.array([10, 10, 10 + 512, 10 + 512], np.float32), (FRAMES, 1))
    # A frame without a face has no say in how large the face is.
    box[3] = [0, 0, 5000, 5000]
    return FaceTrack(
        landmarks=rng.uniform(0, 400, (FRAMES, 478, 3)).astype(np.float32),
        blendshapes=rng.uniform(0, 1, (FRAMES, 52)).astype(np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1)),
        box=box,
        valid=valid,
        size=(600, 600),
    )


def expected(track, *, emotion=HAPPY, audio=None, legacy=False):
    return Expected.of(track, emotion=emotion, audio=audio, legacy=legacy)


def test_distances_are_in_pixels_of_the_face_crop(track):
    truth = expected(track)
    assert truth.pixel == 2.0
    rng = np.random.default_rng(1)
    mesh = truth.mesh[:15] + rng.normal(0, 5, (15, 478, 2))
    valid = np.ones(15, bool)
    valid[9] = False
    found = expression.moved(truth, mesh, valid=valid)
    scheme = schemes.get_scheme("ibug68")
    ours, theirs = (schemes.select(item, scheme) / 2 for item in (mesh, truth.mesh[:15]))
    wanted = landmark_dynamics.measure(ours, theirs, valid=valid & track.valid[:15])
    assert found == {
        "mld": wanted.mouth,
        "fld": wanted.face,
        "mlvd": wanted.mouth_velocity,
        "flvd": wanted.face_velocity,
    }


def test_legacy_numbers_stand_beside_ours_where_asked_and_alone_without_a_label(track):
    truth = expected(track, legacy=True)
    mesh = truth.mesh + np.random.default_rng(1).normal(0, 5, truth.mesh.shape)
    found = expression.moved(truth, mesh, valid=track.valid)
    assert found["flvd_legacy"] == pytest.approx(20 / 68 * found["mlvd_legacy"])
    assert found["mld_legacy"] == found["mld"] and found["mlvd_legacy"] != found["mlvd"]
    alone = expression.moved(expected(track, emotion=None, legacy=True), mesh, valid=track.valid)
    assert set(alone) == {"mld_legacy", "fld_legacy", "mlvd_legacy", "flvd_legacy"}
    assert expression.moved(expected(track, emotion=None), mesh, valid=track.valid) == {}


def test_a_row_of_fewer_points_moves_the_truths_mesh(track):
    truth = expected(track)
    scheme = schemes.get_scheme("iplap131")
    points = schemes.select(truth.mesh, scheme) + 3.0
    mesh = expression.with_points(truth, points[:8])
    assert mesh.shape == (8, 478, 2)
    np.testing.assert_array_equal(schemes.select(mesh, scheme), points[:8])
    others = np.setdiff1d(np.arange(478), scheme.indices)
    np.testing.assert_array_equal(mesh[:, others], truth.mesh[:8, others])


def test_the_emotion_is_the_readers(track):
    found = emotion.load().classify(track.blendshapes, track.valid)
    assert expression.shown(expected(track, emotion=found), track) == (
        {"emotion_accuracy": 1.0},
        (),
    )
    other = (found + 1) % 8
    values, notes = expression.shown(expected(track, emotion=other), track)
    assert values == {"emotion_accuracy": 0.0}
    assert notes == (f"its face reads as {EMOTIONS[found]}, not {EMOTIONS[other]}",)
    assert expression.shown(expected(track, emotion=None), track) == ({}, ())


def test_closures_are_at_the_heard_moments(track, monkeypatch):
    monkeypatch.setattr(ctc29, "load", lambda: lambda audio: audio)
    monkeypatch.setattr(closure, "heard", lambda logits: np.array([0.1, 0.5]))
    truth = expected(track, audio=np.zeros(10, np.float32))
    opening = np.full(FRAMES, 0.2)
    opening[12] = 0.0
    assert expression.closed(truth, opening) == {"closures": 0.5}
    assert expression.closed(truth, np.full(FRAMES, np.nan)) == {}
    assert expression.closed(expected(track), opening) == {}
    unlabelled = expected(track, emotion=None, audio=np.zeros(10, np.float32))
    assert expression.closed(unlabelled, opening) == {}
