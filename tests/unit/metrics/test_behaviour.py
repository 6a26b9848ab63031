import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talkface_jax.landmarks import blinks, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.metrics import behaviour, blink
from talkface_jax.records import FPS, FaceTrack

IBUG = get_scheme("ibug68")
PULSE = np.array([0.4, 0.9, 1.0, 0.7, 0.3])
SIZE = 100.0
"""Pixels between the outer eye corners."""


def make_track(frames=250, *, yaw=None, closing=None, opening=None, move=None, hole=slice(0)):
    """The mean face, with a head transform, lids, a lower lip and a place of its own."""
    mesh = np.repeat(retarget.mean_mesh()[None], frames, 0)
    if closing is not None:
        lids = IBUG.indices[blinks.LIDS]
        for upper, lower in ((1, 5), (2, 4), (7, 11), (8, 10)):
            gap = mesh[:, lids[lower], 1] - mesh[:, lids[upper], 1]
            mesh[:, lids[upper], 1] += closing * gap
    if opening is not None:
        mesh[:, 14] = mesh[:, 13] + np.stack([np.zeros(frames), opening], -1)
    if move is not None:
        mesh += move[:, None]
    depth = np.random.default_rng(0).normal(scale=0.1, size=(1, 478))
    points = np.concatenate([mesh * SIZE + 300, SIZE * np.repeat(depth[..., None], frames, 0)], -1)
    head = np.repeat(np.eye(4)[None], frames, 0)
    if yaw is not None:
        turns = np.deg2rad(yaw)[:, None] * np.array([0, 1, 0])
        head[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
    valid = np.ones(frames, bool)
    valid[hole] = False
    points[~valid], head[~valid] = 0, 0
    return FaceTrack(
        landmarks=points.astype(np.float32),
        blendshapes=np.zeros((frames, 52), np.float32),
        head=head.astype(np.float32),
        box=np.zeros((frames, 4), np.float32),
        valid=valid,
        size=(600, 600),
    )


def closure_of(starts, frames=250):
    curve = np.zeros(frames)
    for start in starts:
        curve[start : start + len(PULSE)] = PULSE
    return curve


def test_blinks_of_any_video():
    found = behaviour.measure(make_track(closing=closure_of([20, 80, 110, 200])))
    assert found.seconds == 10
    assert found.blink_rate == pytest.approx(0.4)
    expected = blink.measure(closure_of([20])).durations.mean()
    assert found.blink_duration == pytest.approx(expected, abs=0.01)
    assert 0.12 < found.blink_duration < 0.24


def test_no_blinks_are_a_rate_of_zero_and_no_duration():
    found = behaviour.measure(make_track(closing=0.1 * closure_of([20, 80])))
    assert found.blink_rate == 0
    assert np.isnan(found.blink_duration)


def test_clips_are_pooled_by_their_seconds():
    many = behaviour.blinks_of(make_track(250, closing=closure_of([50, 100, 150])))
    none = behaviour.blinks_of(make_track(500))
    assert blink.summarise([*many, *none]).rate == pytest.approx(3 / 30)


def test_a_hole_is_no_blink_and_no_time():
    track = make_track(closing=closure_of([20, 80, 200]), hole=slice(120, 170))
    parts = behaviour.blinks_of(track)
    assert [(part.frames, part.count) for part in parts] == [(120, 2), (80, 1)]
    assert behaviour.measure(track).blink_rate == pytest.approx(3 / 8)
    # The time from the second to the third passed unseen.
    assert blink.summarise(parts).interval == pytest.approx(60 / FPS, abs=0.02)


@pytest.mark.parametrize(("amplitude", "frequency"), [(10, 0.5), (25, 0.3), (2, 0.5)])
def test_rotation_is_the_rms_of_a_sinusoids_speed(amplitude, frequency):
    t = np.arange(1000) / FPS
    yaw = amplitude * np.sin(2 * np.pi * frequency * t)
    expected = amplitude * 2 * np.pi * frequency / np.sqrt(2)
    found = behaviour.head_motion(make_track(1000, yaw=yaw))
    assert found.rotation == pytest.approx(expected, rel=0.02)
    assert found.frames == 996
    twice = behaviour.head_motion(make_track(1000, yaw=2 * yaw))
    assert twice.rotation == pytest.approx(2 * found.rotation, rel=1e-3)
    assert found.translation == pytest.approx(0, abs=1e-4)


def test_a_steady_turn_and_where_the_head_looks_do_not_matter():
    yaw = 12 * np.arange(100) / FPS
    for start in (0, 100, 300):
        assert behaviour.head_motion(make_track(100, yaw=yaw + start)).rotation == pytest.approx(
            12, rel=1e-3
        )


def test_the_trackers_jitter_is_a_low_floor():
    jitter = np.random.default_rng(0).normal(scale=0.2, size=1000)
    still = behaviour.head_motion(make_track(1000, yaw=jitter)).rotation
    naive = np.sqrt(np.mean(np.square(np.diff(jitter) * FPS)))
    assert still < 2 < 6 < naive
    speech = 8 * np.sin(2 * np.pi * 0.4 * np.arange(1000) / FPS)
    moved = behaviour.head_motion(make_track(1000, yaw=speech + jitter)).rotation
    assert moved == pytest.approx(8 * 2 * np.pi * 0.4 / np.sqrt(2), rel=0.02)


def test_translation_is_in_eye_distances_a_second():
    move = np.stack([0.02 * np.arange(80), np.zeros(80)], -1)
    found = behaviour.head_motion(make_track(80, move=move))
    assert found.translation == pytest.approx(0.02 * FPS, rel=1e-3)
    assert found.rotation == pytest.approx(0, abs=1e-3)


def test_speeds_are_not_taken_across_a_hole():
    yaw = np.where(np.arange(100) < 50, 0.0, 90.0)
    found = behaviour.head_motion(make_track(100, yaw=yaw, hole=slice(48, 52)))
    assert found.rotation == pytest.approx(0, abs=1e-3)
    assert found.frames == 100 - 4 - 8
    nothing = behaviour.head_motion(make_track(4))
    assert nothing.frames == 0 and np.isnan([nothing.rotation, nothing.translation]).all()


def sound(levels, seed=0):
    """White noise of those levels in dBFS, one a frame."""
    noise = np.random.default_rng(seed).normal(size=(len(levels), 640))
    noise /= np.sqrt(np.mean(np.square(noise), -1, keepdims=True))
    return (noise * 10 ** (np.asarray(levels)[:, None] / 20)).astype(np.float32).ravel()


@pytest.mark.parametrize("quiet", [-200, -62])
def test_silent_frames_are_those_well_within_a_pause(quiet):
    levels = np.full(75, quiet)
    levels[25:50] = -20
    expected = np.ones(75, bool)
    expected[25 - 3 : 50 + 3] = False
    np.testing.assert_array_equal(behaviour.silent_frames(sound(levels)), expected)
    np.testing.assert_array_equal(behaviour.silent_frames(0.04 * sound(levels)), expected)
    bare = behaviour.silent_frames(sound(levels), margin=0)
    assert bare.sum() == 50


def test_a_stop_within_a_word_and_a_noisy_pause_are_no_silence():
    levels = np.full(75, -20)
    levels[30:34] = -200
    assert not behaviour.silent_frames(sound(levels)).any()
    levels[10:40] = -55
    assert not behaviour.silent_frames(sound(levels)).any()


@pytest.mark.parametrize("level", [-200, -60, -52])
def test_a_clip_without_speech_is_silent_throughout(level):
    assert behaviour.silent_frames(sound([level] * 30)).all()
    assert not behaviour.silent_frames(sound([-45] * 30)).any()


def test_length_and_bad_samples():
    assert len(behaviour.silent_frames(np.zeros(641, np.float32))) == 2
    assert len(behaviour.silent_frames(np.zeros(0, np.float32))) == 0
    half = np.concatenate([sound([-20] * 10), sound([-20])[:100]])
    assert not behaviour.silent_frames(half, margin=0).any()
    with pytest.raises(ValueError, match="floating-point"):
        behaviour.silent_frames(np.zeros(640, np.int16))
    with pytest.raises(ValueError, match="finite"):
        behaviour.silent_frames(np.full(640, np.nan, np.float32))


def test_opening_in_silence():
    silent = np.arange(100) < 40
    opening = np.where(silent, 0.02, np.linspace(0, 0.2, 100))
    opening[:10] = 0.005
    opening[38:42] = np.nan
    found = behaviour.opening_in_silence(opening, silent)
    wide = np.percentile(opening[42:], 95)
    still = (10 * 0.005 + 28 * 0.02) / 38
    assert found.frames == 38
    assert found.opening == pytest.approx(100 * still)
    assert found.share == pytest.approx(100 * still / wide)
    assert found.closed == pytest.approx(10 / 38)
    closed = behaviour.opening_in_silence(np.where(silent, 0.0, opening), silent)
    assert closed.opening == 0 and closed.closed == 1


def test_without_silence_or_speech_there_is_no_share():
    opening = np.full(20, 0.1)
    talk = behaviour.opening_in_silence(opening, np.zeros(20, bool))
    assert talk.frames == 0 and np.isnan([talk.opening, talk.share, talk.closed]).all()
    hush = behaviour.opening_in_silence(opening, np.ones(20, bool))
    assert hush.opening == pytest.approx(10) and np.isnan([hush.share, hush.closed]).all()
    with pytest.raises(ValueError, match="one length, not 20 and 19"):
        behaviour.opening_in_silence(opening, np.ones(19, bool))


def test_everything_of_one_clip():
    levels = np.where(np.arange(80) % 80 < 40, -20, -200)
    opening = np.where(levels > -100, 0.15, 0.03)
    track = make_track(100, opening=np.pad(opening, (0, 20), constant_values=0.03))
    # The sound ends first: nothing is said in the last 20 frames.
    found = behaviour.measure(track, samples=sound(levels))
    assert found.silence.frames == 60 - 3
    assert found.silence.opening == pytest.approx(3, abs=0.01)
    assert found.silence.share == pytest.approx(20, abs=0.1)
    assert found.silence.closed == 0
    assert found.opening == pytest.approx(0.4 * 15 + 0.6 * 3, abs=0.01)
    assert behaviour.measure(track).silence is None
    faceless = make_track(30, hole=slice(0, 30))
    none = behaviour.measure(faceless, samples=sound([-20] * 30))
    assert none.seconds == 0 and none.blinks == () and none.silence.frames == 0
    assert np.isnan([none.opening, none.blink_rate, none.head.rotation]).all()


def test_conventions_name_their_thresholds():
    said = behaviour.CONVENTIONS
    assert set(said) == {"blinks", "head motion", "mean opening", "silence"}
    for text, number in (
        ("silence", "40 dB"),
        ("silence", "-50 dBFS"),
        ("head motion", "5 frames"),
    ):
        assert number in said[text]
