"""Emotions as numbers: labels, mixes, tracks, and what controls ask for."""

import pickle

import numpy as np
import pytest

from talkface_jax import emotions, records
from talkface_jax.capabilities import (
    BLINK,
    EMOTION,
    EMOTION_TRACK,
    FACE_EMOTION,
    LEVEL,
    Declaration,
    clip_controls,
)
from talkface_jax.emotions import EMOTIONS, EmotionTrack
from talkface_jax.errors import ConfigError

HAPPY, NEUTRAL, SURPRISED = (EMOTIONS.index(name) for name in ("happy", "neutral", "surprised"))
MIXED = np.zeros(8, np.float32)
MIXED[[HAPPY, SURPRISED]] = 0.6, 0.4
HALVES = "neutral:0.5,happy:0.5"


def _at(index, value=1.0):
    vector = np.zeros(8, np.float32)
    vector[index] = value
    return vector


def test_the_clock_and_the_names_are_those_of_records():
    assert emotions._FPS == records.FPS
    assert records.EMOTIONS is EMOTIONS and len(EMOTIONS) == 8


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_label_is_a_vector(level):
    for index, name in enumerate(EMOTIONS):
        got = emotions.of_label(index, level)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, _at(index, (name != "neutral") * np.float32(level / 3)))


def test_a_neutral_label_needs_no_level():
    np.testing.assert_array_equal(emotions.of_label(NEUTRAL, -1), np.zeros(8))


@pytest.mark.parametrize("label", [(-1, 3), (HAPPY, -1), (HAPPY, 0), (HAPPY, 4), (8, 1), (-1, -1)])
def test_what_is_no_label(label):
    with pytest.raises(ValueError, match=r"index of no emotion|no level from 1 to 3"):
        emotions.of_label(*label)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ("happy", _at(HAPPY)),
        (" happy : 0.6, surprised:.4 ", MIXED),
        ({"happy": 0.6, "surprised": np.float32(0.4)}, MIXED),
        (MIXED, MIXED),
        (MIXED.tolist(), MIXED),
        ("happy:0.25", _at(HAPPY, 0.25)),
        ("neutral", np.zeros(8)),
        (HALVES, _at(HAPPY, 0.5)),
        (_at(NEUTRAL), np.zeros(8)),
        ({}, np.zeros(8)),
        (np.full(8, 1 / 8, np.float32), np.where(np.arange(8) == NEUTRAL, 0, 1 / 8)),
    ],
)
def test_mixes(given, weights):
    for read in (emotions.read_mix, emotions.read_mixes, EMOTION.read, FACE_EMOTION.read):
        got = read(given)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, weights, rtol=1e-7)
        np.testing.assert_array_equal(read(got), got)


def test_a_mix_that_is_given_is_not_changed():
    given = _at(NEUTRAL)
    emotions.read_mix(given)
    assert given[NEUTRAL] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("glad", "one of angry, .*, or a mix of them such as happy:0.6,surprised:0.4, not glad"),
        ("", "one of angry, .*, not ''"),
        ("happy,", "one of angry, .*, not happy,"),
        ({"glad": 1}, r"one of angry, .*, not \{'glad': 1\}"),
        ("happy:much", "a mix whose weights are numbers, not happy:much"),
        ({"happy": True}, "a mix whose weights are numbers"),
        ({"happy": None}, "a mix whose weights are numbers"),
        ("happy:-0.1", "a mix whose weights are finite and at least 0"),
        ("happy:nan", "a mix whose weights are finite and at least 0"),
        ("happy:inf", "a mix whose weights are finite and at least 0"),
        ("happy,sad", "a mix whose weights sum to at most 1"),
        ("neutral:0.5,happy:0.6", "a mix whose weights sum to at most 1"),
        ("happy:0.2,happy:0.2", "a mix that names happy once"),
        (np.zeros(7), "an array of 8 weights"),
        (0.5, "an array of 8 weights"),
        (None, "an array of 8 weights|one of angry"),
        ([[0.1], [0.2, 0.3]], "one of angry, .*array of 8 weights"),
        (["happy"], "one of angry, .*array of 8 weights"),
    ],
)
def test_what_is_no_mix(given, words):
    for control in (EMOTION, FACE_EMOTION):
        with pytest.raises(ConfigError, match=f"^{control.flag} must be {words}") as refused:
            control.read(given)
        assert "\n" not in str(refused.value) and str(refused.value).endswith("; give another")


def test_mixes_of_every_frame():
    given = np.stack([MIXED, _at(NEUTRAL)])
    np.testing.assert_array_equal(EMOTION.read(given), [MIXED, np.zeros(8)])
    for wrong in (np.zeros((0, 8)), np.zeros((3, 7)), np.zeros((2, 3, 8))):
        with pytest.raises(ConfigError, match=r"^--emotion must be an array of 8 weights"):
            EMOTION.read(wrong)
    with pytest.raises(ConfigError, match="sum to at most 1"):
        EMOTION.read(given + MIXED)
    with pytest.raises(ConfigError, match=r"^--face-emotion must be an array of 8 weights, not "):
        FACE_EMOTION.read(given)


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "track.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_a_track_is_linear_between_its_lines_and_held_beyond(table):
    path = table("seconds,happy,sad\n1,0,0.5\n2,1,0\n\n4, 0.5 ,0.25\n", encoding="utf-8-sig")
    track = EMOTION_TRACK.read(str(path))
    got = track.at(np.array([-3.0, 1.0, 1.25, 2.0, 3.0, 4.0, 99.0]))
    assert got.shape == (7, 8) and got.dtype == np.float32
    np.testing.assert_allclose(got[:, HAPPY], [0, 0, 0.25, 1, 0.75, 0.5, 0.5], atol=1e-7)
    sad = got[:, EMOTIONS.index("sad")]
    np.testing.assert_allclose(sad, [0.5, 0.5, 0.375, 0, 0.125, 0.25, 0.25], atol=1e-7)
    others = [k for k, name in enumerate(EMOTIONS) if name not in ("happy", "sad")]
    assert not got[:, others].any()
    assert emotions.read_track(track) is track
    again = pickle.loads(pickle.dumps(track))
    np.testing.assert_array_equal(again.at(np.array([1.25])), track.at(np.array([1.25])))


def test_columns_of_a_track_stand_in_any_order(table):
    track = emotions.read_track(table("sad,neutral,seconds\n0.5,0.5,0\n"))
    expected = _at(EMOTIONS.index("sad"), 0.5)
    np.testing.assert_array_equal(track.at(np.zeros(1))[0], expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("seconds,happy\n", "it has no line below the names of its columns"),
        ("time,happy\n0,1\n", "line 1: there is no column 'time', but seconds, angry, "),
        ("seconds,glad\n0,1\n", "line 1: there is no column 'glad', but seconds, angry, "),
        ("happy,sad\n0,1\n", "line 1 must name seconds and at least one emotion"),
        ("seconds\n0\n", "line 1 must name seconds and at least one emotion"),
        ("seconds,sad,sad\n0,1,1\n", "line 1: two columns are called sad"),
        ("seconds,sad\n0,1\n\n1,much\n", "line 4: sad is 'much', which is no number"),
        ("seconds,sad\n0,\n", "line 2: sad is '', which is no number"),
        ("seconds,sad\nnan,1\n", "line 2: seconds is 'nan', which is no number"),
        ("seconds,sad\n0,1\n0,1\n", "line 3: 0 seconds do not come after 0"),
        ("seconds,sad\n2,1\n1.5,1\n", "line 3: 1.5 seconds do not come after 2"),
        ("seconds,sad\n0,1,2\n", "line 2 has 3 cells, but there are 2 columns"),
        ("seconds,sad,happy\n0,0.7,0.7\n", "line 2 must be a mix whose weights sum to at most 1"),
        ("seconds,sad\n0,-1\n", "line 2 must be a mix whose weights are finite and at least 0"),
    ],
)
def test_what_is_no_track(table, text, words):
    path = table(text)
    with pytest.raises(ConfigError) as refused:
        EMOTION_TRACK.read(str(path))
    said = f"--emotion-track must be a CSV file of emotions ({words}"
    assert str(refused.value).startswith(said)
    assert str(refused.value).endswith(f"), not {path}; give another")


def test_a_track_that_is_no_text_or_cannot_be_read(tmp_path):
    (tmp_path / "track.csv").write_bytes(b"\xff\xfe\x00\x81seconds")
    with pytest.raises(ConfigError, match=r"--emotion-track must be .* is no CSV file"):
        EMOTION_TRACK.read(tmp_path / "track.csv")
    with pytest.raises(ConfigError, match=r"^--emotion-track: .*none.csv cannot be read"):
        EMOTION_TRACK.read(str(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match="--emotion-track must be the path of a CSV file"):
        EMOTION_TRACK.read(3)


def test_a_track_of_arrays_is_checked():
    rows = np.stack([MIXED, MIXED])
    for seconds, words in (([0.0], "one finite time"), ([1.0, 0.0], "times ascend")):
        with pytest.raises(ValueError, match=words):
            EmotionTrack(np.array(seconds), rows)
    with pytest.raises(ValueError, match="sum to at most 1"):
        EmotionTrack(np.array([0.0, 1.0]), rows * 2)
    # One mix is no row for each of eight times.
    with pytest.raises(ValueError, match="one finite time for every row"):
        EmotionTrack(np.arange(8.0), MIXED)


def test_nothing_is_asked_for_without_a_control_of_emotion():
    assert emotions.requested({}, 3) is None
    assert emotions.requested({"seed": 1, "face_emotion": MIXED}, 3) is None


@pytest.mark.parametrize(("level", "scale"), [(None, 1), (3, 1), (1, 1 / 3), (0, 0), (4.5, 1.5)])
def test_the_level_multiplies_what_is_asked_for(level, scale):
    given = {} if level is None else {"level": level}
    got = emotions.requested({"emotion": "happy:0.6,surprised:0.4", **given}, 4)
    assert got.shape == (4, 8) and got.dtype == np.float32
    np.testing.assert_allclose(got, np.tile(scale * MIXED, (4, 1)), rtol=1e-6)
    assert not emotions.requested({"emotion": "neutral", **given}, 4).any()


def test_mixes_of_frames_are_held_at_the_last_and_cut():
    rows = np.stack([MIXED, _at(HAPPY), _at(SURPRISED)])
    got = emotions.requested({"emotion": rows}, 5)
    np.testing.assert_array_equal(got, rows[[0, 1, 2, 2, 2]])
    np.testing.assert_array_equal(emotions.requested({"emotion": rows}, 2), rows[:2])


def test_a_track_is_asked_at_the_frames_times(table):
    track = emotions.read_track(table("seconds,happy\n0,0\n1,1\n"))
    got = emotions.requested({"emotion_track": track, "level": 6}, 30)
    np.testing.assert_allclose(got[:, HAPPY], 2 * np.minimum(np.arange(30) / 25, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"level": 2}, "^--level says how strong an emotion is, and there is none; give --emotion"),
        (
            {"emotion": MIXED, "emotion_track": EmotionTrack(np.zeros(1), MIXED[None])},
            "^--emotion and --emotion-track both say what the face shows; leave one of them out$",
        ),
    ],
)
def test_controls_that_do_not_fit_each_other(controls, words):
    with pytest.raises(ConfigError, match=words):
        emotions.requested(controls, 3)


def test_what_the_face_shows():
    assert not emotions.of_face({"emotion": "happy"}).any()
    assert emotions.of_face({"face_emotion": FACE_EMOTION.read("auto")}) is None
    np.testing.assert_array_equal(emotions.of_face({"face_emotion": "sad:0.5"})[[6]], [0.5])


@pytest.mark.parametrize("level", ["-1", "nan", "much"])
def test_a_level_is_a_number_of_at_least_0(level):
    assert LEVEL.read("2") == 2 and LEVEL.read(4.5) == 4.5
    with pytest.raises(ConfigError, match=r"^--level must be"):
        LEVEL.read(level)


def test_a_clips_label_is_asked_of_a_method_that_shows_emotions():
    shows = Declaration("shows", "", {}, controls=(BLINK, EMOTION, LEVEL, FACE_EMOTION))
    given = clip_controls(shows, emotion=HAPPY, level=2)
    assert given == {"emotion": "happy", "level": 2, "face_emotion": {"happy": 2 / 3}}
    read = shows.read_controls(given)
    label = emotions.of_label(HAPPY, 2)
    np.testing.assert_allclose(emotions.requested(read, 2), [label, label])
    np.testing.assert_allclose(emotions.of_face(read), label)
    neutral = shows.read_controls(clip_controls(shows, emotion=NEUTRAL, level=-1))
    assert not emotions.requested(neutral, 1).any() and not emotions.of_face(neutral).any()
    for label in ((-1, -1), (HAPPY, -1), (-1, 2)):
        assert clip_controls(shows, emotion=label[0], level=label[1]) == {}
    other = Declaration("other", "", {}, controls=(BLINK,))
    assert clip_controls(other, emotion=HAPPY, level=2) == {}
    without = Declaration("without", "", {}, controls=(EMOTION, LEVEL))
    assert set(clip_controls(without, emotion=HAPPY, level=2)) == {"emotion", "level"}
