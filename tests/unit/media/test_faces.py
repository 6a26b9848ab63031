import numpy as np
import pytest

from talkface_jax.errors import FaceError
from talkface_jax.media.faces import (
    FaceDetection,
    FacePath,
    assign,
    choose,
    loudness,
    overlap,
    speaker_scores,
)


def _detection(x, *, width=40.0, opening=0.0):
    """A face at x whose inner lips are `opening` eye distances apart."""
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = x, 50
    points[0, :2] = x - width / 2, 20
    points[1, :2] = x + width / 2, 80
    points[33, :2], points[263, :2] = (x - width / 4, 40), (x + width / 4, 40)
    points[13, :2], points[14, :2] = (x, 60), (x, 60 + opening * width / 2)
    return FaceDetection(points, np.zeros(52, np.float32), np.eye(4, dtype=np.float32))


def _path(x, openings, **options):
    detections = [_detection(x, opening=o, **options) for o in openings]
    return FacePath(list(range(len(detections))), detections)


def _speech(frames=100):
    """Sound in the middle half of the clip."""
    sound = np.zeros(frames * 640, np.float32)
    sound[frames * 160 : frames * 480] = 0.2
    return sound


def _talking(frames=100):
    t = np.arange(frames)
    return np.where((t >= 25) & (t < 75), 0.15 + 0.15 * np.sin(t * 1.3), 0.02)


def test_overlap():
    a = np.array([0.0, 0, 10, 10])
    assert overlap(a, a) == 1
    assert overlap(a, a + np.array([5, 0, 5, 0])) == pytest.approx(1 / 3)
    assert overlap(a, a + 20) == 0
    assert overlap(a[[0, 1, 0, 1]], a[[0, 1, 0, 1]]) == 0


def test_assign_takes_the_best_pairs_first():
    paths = [_path(50, [0]), _path(150, [0])]
    found = [_detection(148), _detection(300), _detection(53), _detection(66)]
    matched, new = assign(paths, found)
    assert matched == {0: 2, 1: 0}
    assert new == [1, 3]
    assert assign([], found) == ({}, [0, 1, 2, 3])


def test_speaker_is_the_mouth_that_follows_the_sound():
    rng = np.random.default_rng(0)
    still = _path(50, 0.02 + 0.005 * rng.random(100), width=80)
    talker = _path(300, _talking())
    scores = speaker_scores([still, talker], frames=100, audio=_speech())
    assert scores[1] > 3 * scores[0]
    assert choose([still, talker], face="speaker", frames=100, audio=_speech()) is talker
    assert choose([still, talker], face="largest", frames=100, audio=_speech()) is still


def test_chewing_in_the_pauses_is_no_speech():
    """Of two mouths that move as much, the one that moves with the sound scores higher."""
    talker, chewer = _path(50, _talking()), _path(300, np.roll(_talking(), 50))
    scores = speaker_scores([chewer, talker], frames=100, audio=_speech())
    assert scores[1] > 2 * scores[0]


def test_speaker_falls_back_on_the_largest(caplog):
    small, large = _path(50, _talking()), _path(300, _talking(), width=90)
    assert choose([small, large], face="speaker", frames=100, audio=_speech()) is large
    assert "no face clearly follows" in caplog.text
    silence = np.zeros(64_000, np.float32)
    assert choose([small, large], face="speaker", frames=100, audio=silence) is large
    assert "no sound" in caplog.text


def test_index_counts_from_the_left():
    paths = [_path(300, [0] * 10), _path(50, [0] * 10), _path(170, [0] * 10)]
    got = [choose(paths, face=str(i), frames=10, audio=None) for i in range(3)]
    assert got == [paths[1], paths[2], paths[0]]
    assert choose(paths, face=2, frames=10, audio=None) is paths[0]


def test_flukes_are_not_offered():
    paths = [_path(300, [0] * 30), _path(50, [0] * 2)]
    assert choose(paths, face=None, frames=30, audio=None) is paths[0]
    assert choose(paths, face="0", frames=30, audio=None) is paths[0]


@pytest.mark.parametrize(
    ("count", "face", "words"),
    [
        (0, "largest", "no face was found"),
        (2, None, r"2 faces were found.*--face=speaker, largest or a number"),
        (2, "2", "only 2 face"),
        (2, "bob", "--face=bob is no choice"),
        (1, "bob", "--face=bob is no choice"),
    ],
)
def test_errors(count, face, words):
    paths = [_path(50 + 200 * i, [0] * 10) for i in range(count)]
    with pytest.raises(FaceError, match=words) as caught:
        choose(paths, face=face, frames=10, audio=None, name="clip.mp4")
    assert str(caught.value).endswith(".")


def test_loudness():
    level = loudness(_speech(), 100)
    assert level[50] == pytest.approx(1)
    assert level[5] == level[95] == 0
    assert not loudness(np.zeros(6400, np.float32), 10).any()
    assert loudness(_speech()[:100], 100).shape == (100,)
