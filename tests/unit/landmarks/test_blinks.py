"""Blinks in displacement tracks: what is kept, where they are found, and how they are retimed."""

import numpy as np
import pytest

from talkface_jax.landmarks import blinks
from talkface_jax.landmarks.retarget import MEAN_FACE, Normalised
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import FPS

PULSE = np.array([0.3, 1.1, 1.2, 1.2, 0.9, 0.4])


def track_of(curve):
    """A displacement track with that closure, the upper lids moving alone."""
    track = np.zeros((len(curve), 22, 2), np.float32)
    upper = [1, 2, 7, 8]
    gap = np.mean([MEAN_FACE[40, 1] - MEAN_FACE[38, 1], MEAN_FACE[41, 1] - MEAN_FACE[37, 1]])
    track[:, upper, 1] = np.asarray(curve)[:, None] * gap
    return track


def normalised(offsets, neutral=MEAN_FACE):
    """A face of the mean's proportions with those offsets."""
    frames = len(offsets)
    maps = np.repeat(np.eye(3, 2)[None], frames, 0)
    return Normalised(
        neutral, np.zeros(68), maps, np.zeros((frames, 2)), np.ones(2), np.asarray(offsets)
    )


def pulses(starts, frames):
    curve = np.zeros(frames)
    for start in starts:
        curve[start : start + len(PULSE)] = PULSE
    return curve


def measured(track):
    found = [blink for blink in blinks.find_blinks(blinks.closure(track)) if blink.whole]
    return len(found) * FPS / len(track), np.mean([blink.duration for blink in found])


def test_points_are_lids_then_brows():
    scheme = get_scheme("ibug68")
    assert blinks.POINTS.tolist() == [*range(36, 48), *range(17, 27)]
    # Mesh 159 and 145 would be the lids' middles; ibug68 has the points beside them.
    assert {scheme.position(mesh) for mesh in (160, 158, 385, 387)} <= set(blinks.LIDS.tolist())


def test_closure_is_one_where_the_lids_of_the_mean_face_meet():
    face = MEAN_FACE.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        face[upper, 1] = face[lower, 1] = 0.3 * face[upper, 1] + 0.7 * face[lower, 1]
    face[17:27, 1] += 0.1
    face[[36, 39]] += 0.05
    moved = (face - MEAN_FACE)[blinks.POINTS]
    assert blinks.closure(moved) == pytest.approx(1.0, abs=1e-6)
    assert blinks.closure(np.zeros((3, 22, 2))).tolist() == [0.0] * 3
    one_eye = moved.copy()
    one_eye[6:12] = 0
    assert blinks.closure(one_eye) == pytest.approx(0.5, abs=0.02)


def test_drift_and_gaze_shifts_leave_the_displacements_and_blinks_stay():
    frames = 100
    slow = 0.2 * np.sin(np.arange(frames) / 40)
    steps = np.where(np.arange(frames) < 55, 0.0, -0.3)
    fast = pulses([20, 75], frames)
    fast[-4:] = [0.3, 1.0, 1.2, 1.2]
    offsets = np.zeros((frames, 68, 2))
    offsets[:, blinks.POINTS] = track_of(slow + steps + fast)
    offsets[:, blinks.BROWS, 1] = 0.5
    valid = np.ones(frames, bool)
    found = blinks.displacements(normalised(offsets), valid=valid)
    assert found.dtype == np.float32 and found.shape == (frames, 22, 2)
    np.testing.assert_allclose(blinks.closure(found), fast, atol=0.13)
    assert not found[:, 12:].any()
    offsets[:, 0] = 9.0
    np.testing.assert_array_equal(blinks.displacements(normalised(offsets), valid=valid), found)


@pytest.mark.parametrize("gap", [0.7, 1.4])
def test_every_eye_closes_by_its_own_opening(gap):
    """Lids of narrow and of wide eyes meet at closure 1."""
    neutral = MEAN_FACE.copy()
    middle = neutral[blinks.LIDS, 1].mean()
    neutral[blinks.LIDS, 1] = middle + gap * (neutral[blinks.LIDS, 1] - middle)
    curve = pulses([20, 60], 100) / 1.2
    offsets = np.zeros((100, 68, 2))
    offsets[:, blinks.POINTS] = gap * track_of(curve)
    face, valid = normalised(offsets, neutral), np.ones(100, bool)
    eyes = blinks.open_eyes(face, valid=valid)
    assert eyes.gap == pytest.approx(gap, rel=1e-6)
    found = blinks.displacements(face, valid=valid)
    np.testing.assert_allclose(blinks.closure(found), curve, atol=1e-5)
    moved = face.neutral[blinks.POINTS] + eyes.moved(found)
    lids = moved[:, [5, 4, 11, 10], 1] - moved[:, [1, 2, 7, 8], 1]
    assert np.abs(lids.mean(1)[22]) < 0.02 * gap and (lids.mean(1)[:19] > 0).all()
    with pytest.raises(ValueError, match="no valid frame"):
        blinks.open_eyes(face, valid=~valid)


def test_blinks_begin_and_end_at_the_crossings():
    curve = np.array([0, 0.1, 0.3, 1.0, 0.6, 0.0, 0.4, 0.45, 0.1, 0.15])
    (blink,) = blinks.find_blinks(curve)
    assert blink.start == pytest.approx(1.5) and blink.whole
    assert blink.stop == pytest.approx(4 + 0.4 / 0.6)
    assert blink.duration == pytest.approx(3.1667, abs=1e-3)


def test_blinks_that_the_ends_cut_off_are_not_whole():
    curve = np.concatenate([[1.0, 0.7], np.zeros(10), [0.7, 1.0]])
    first, last = blinks.find_blinks(curve)
    assert (first.start, first.whole) == (0.0, False)
    assert (last.stop, last.whole) == (13.0, False)
    assert blinks.find_blinks(np.zeros(5)) == () == blinks.find_blinks(np.zeros(0))
    assert len(blinks.intervals([first, last])) == 1


def test_intervals_go_from_start_to_start():
    found = blinks.find_blinks(pulses([10, 62, 150], 200))
    np.testing.assert_allclose(blinks.intervals(found), [52, 88])


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.6, 1.2])
@pytest.mark.parametrize("duration", [0.12, 0.25, 0.4])
def test_retimed_tracks_have_the_wanted_rate_and_duration(rate, duration):
    rng = np.random.default_rng(0)
    starts = np.cumsum(rng.integers(45, 98, 40))
    track = track_of(pulses(starts, int(starts[-1]) + 60))
    retimed = blinks.retime(track, rate=rate, duration=duration, frames=3000)
    assert retimed.shape == (3000, 22, 2) and retimed.dtype == np.float32
    found_rate, found_duration = measured(retimed)
    assert found_rate == pytest.approx(rate, rel=0.1)
    assert abs(found_duration - duration * FPS) < 1
    # Every blink still closes the eyes, and no more than before.
    peaks = blinks.closure(retimed)
    assert 0.9 < peaks.max() <= 1.2 + 1e-5


def test_retiming_keeps_what_it_is_not_told_to_change():
    starts = [30, 100, 140, 230]
    track = track_of(pulses(starts, 300))
    same = blinks.retime(track, frames=300)
    np.testing.assert_allclose(same[:299], track[:299], atol=1e-6)
    slower = blinks.retime(track, rate=4 * FPS / 299 / 2, frames=598)
    before, after = (measured(item)[1] for item in (track, slower))
    assert after == pytest.approx(before, abs=1)
    old, new = (
        blinks.intervals(blinks.find_blinks(blinks.closure(item))) for item in (track, slower)
    )
    # Pauses are stretched by one factor: their irregularity stays.
    np.testing.assert_allclose((new - before) / (old - before), new[0] / old[0], rtol=0.06)


def test_a_short_track_is_played_again():
    track = track_of(pulses([20, 80], 120))
    retimed = blinks.retime(track, rate=2 * FPS / 119, frames=500)
    found = blinks.find_blinks(blinks.closure(retimed))
    assert len(found) == 9
    np.testing.assert_allclose(np.diff([b.start for b in found])[::2], 60, atol=0.5)


def test_a_rate_of_zero_keeps_the_eyes_open():
    track = track_of(pulses([20], 60))
    assert not blinks.retime(track, rate=0, frames=90).any()


@pytest.mark.parametrize(
    ("curve", "options", "message"),
    [
        (np.zeros(50), {"rate": 0.3}, "without a whole blink"),
        (pulses([20], 60), {"rate": 3.0, "duration": 0.4}, "leave no open eyes"),
        (pulses([20], 60), {"rate": -1.0}, "leave no open eyes"),
        (pulses([20], 60), {"duration": 0.05}, "fall between the frames"),
    ],
)
def test_impossible_timings_are_refused(curve, options, message):
    with pytest.raises(ValueError, match=message):
        blinks.retime(track_of(curve), frames=50, **options)
