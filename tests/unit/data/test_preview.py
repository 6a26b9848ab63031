import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image
from verifying import clip_of_two, write

from talkface_jax.data import preview, preview_face, preview_sound, preview_text
from talkface_jax.errors import MediaError, RecordError
from talkface_jax.landmarks import schemes
from talkface_jax.landmarks.blendshapes import POSITION
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.images import encode_jpeg
from talkface_jax.media.mark import DETECTION_THRESHOLD, mark_score
from talkface_jax.media.video import open_video

SIZE = 512


@pytest.fixture(scope="module")
def directory(tmp_path_factory, make_segment):
    return write(tmp_path_factory.mktemp("preview") / "set", clip_of_two(make_segment))


@pytest.fixture(scope="module")
def grey(make_segment):
    """A segment of ten frames on plain grey, with points far apart; frame 3 has no face."""
    segment = make_segment(seed=5, frames=10, invalid=(3,))
    plain = encode_jpeg(np.full((256, 256, 3), 90, np.uint8))
    scores = np.zeros((10, 52), np.float32)
    return dataclasses.replace(segment, frames=(plain,) * 10, blendshapes=scores)


@pytest.fixture(scope="module")
def made(directory, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "clip.mp4"
    calls = []
    result = preview.write_preview(
        directory, clip="clip1", out=out, progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("preview", 20, 20)
    return result


def test_all_segments_of_the_clip_are_shown_with_its_sound_in_step(made, make_segment):
    assert (made.clip, made.frames, made.valid, made.segments) == ("fake/clip1", 20, 18, 2)
    with open_video(made.video) as video:
        assert len(video) == 20
        assert video[0].shape == (720, 800, 3)
        # The red border of the two frames without a face, and of no others.
        red = [t for t in range(20) if _near(video[t][250, 3], (255, 40, 40), 90)]
    assert red == [12, 13]
    one, two, _ = clip_of_two(make_segment)["train-0"]
    stored = np.concatenate([one.audio, two.audio]) / 32768
    heard = read_clip_audio(made.video, None, 20)
    lags = range(-40, 41)
    inner = slice(2000, -2000)
    match = [np.corrcoef(np.roll(heard, lag)[inner], stored[inner])[0, 1] for lag in lags]
    assert lags[int(np.argmax(match))] == 0
    assert max(match) > 0.9


def test_the_contact_sheet_lies_beside_it(made):
    with Image.open(made.sheet) as image:
        assert image.size == (1152, 64 + 3 * 210 + preview_sound.HEIGHT)
    assert made.sheet.name == "clip.png"
    assert sorted(path.name for path in made.video.parent.iterdir()) == ["clip.mp4", "clip.png"]


def test_it_says_that_nothing_is_generated(made):
    import av

    with av.open(str(made.video)) as container:
        metadata = dict(container.metadata)
    assert json.loads(metadata["comment"]) == {
        "generated": "no",
        "clip": "fake/clip1",
        "licence": "unknown",
        "source": "clip1.mp4",
    }
    with open_video(made.video) as video:
        score = mark_score(video[t] for t in range(0, 20, 4))
    assert score < DETECTION_THRESHOLD


@pytest.mark.parametrize("name", [None, "clip1", "fake/clip1"])
def test_clips_are_found_by_either_name_and_the_first_by_none(directory, name):
    from talkface_jax.data import store

    with_sources = [directory / f"{shard}.tfrecord" for shard in ("train-0", "train-1")]
    found, numbers = preview._find(store.ShardSource(with_sources), name, directory)
    assert (found, numbers) == ("fake/clip1", [0, 1])


def test_an_unknown_clip_is_refused_with_near_names(directory, tmp_path):
    with pytest.raises(RecordError, match=r"has no clip 'clib3'; use one of: clip3, "):
        preview.write_preview(directory, clip="clib3", out=tmp_path / "a.mp4")
    with pytest.raises(MediaError, match=r"written as .*\.mp4"):
        preview.write_preview(directory, clip=None, out=tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def _near(pixel, colour, slack):
    return int(np.abs(pixel.astype(int) - colour).max()) <= slack


def test_contours_are_drawn_where_the_landmarks_are(grey):
    picture = preview_face.draw_face(grey, 0, size=SIZE)
    points = grey.landmarks[0]
    hit = 0
    edges = preview_face._coloured_edges()
    for colour, a, b in edges:
        column, row = np.floor((points[a, :2] + points[b, :2]) / 2 * SIZE).astype(int)
        window = picture[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
        hit += any(_near(pixel, colour, 70) for pixel in window)
    # The rest is crossed by a line that is drawn later.
    assert hit > 0.9 * len(edges)
    assert len(edges) == len(schemes.get_scheme("mesh478").edges)
    bare = preview_face.draw_face(grey, 3, size=SIZE)
    assert _near(bare[0, 0], (255, 40, 40), 10)
    assert np.ptp(bare[20:-20, 20:-20]) <= 4  # nothing but the grey crop


def _arrow(segment):
    """End of the left eye's arrow from its iris, in pixels: where the colour is farthest."""
    start = segment.landmarks[0, 473, :2] * SIZE
    picture = preview_face.draw_face(segment, 0, size=SIZE).astype(int)
    rows, columns = np.nonzero(np.abs(picture - preview_face.GAZE_COLOUR).max(-1) < 60)
    offsets = np.stack([columns, rows], -1) - start
    return offsets[np.argmax(np.linalg.norm(offsets, axis=1))]


def _looking(segment, **scores):
    blendshapes = segment.blendshapes.copy()
    for name, value in scores.items():
        blendshapes[:, POSITION[name]] = value
    points = segment.landmarks.copy()
    points[:] = 0.2  # all lines out of the way
    points[:, 473], points[:, 468] = (0.6, 0.5, 0), (0.4, 0.5, 0)
    return dataclasses.replace(segment, blendshapes=blendshapes, landmarks=points)


@pytest.mark.parametrize(
    ("scores", "across", "down"),
    [
        # The pictured person's left is the picture's right.
        ({"eyeLookOutLeft": 1, "eyeLookInRight": 1}, 1, 0),
        ({"eyeLookInLeft": 1, "eyeLookOutRight": 1}, -1, 0),
        ({"eyeLookUpLeft": 1, "eyeLookUpRight": 1}, 0, -1),
        ({"eyeLookDownLeft": 1, "eyeLookDownRight": 1}, 0, 1),
    ],
)
def test_the_gaze_points_where_the_eyes_look(grey, scores, across, down):
    segment = _looking(grey, **scores)
    left, right = (preview_face.gaze_angles(segment.blendshapes[0], s) for s in ("Left", "Right"))
    assert left == right
    assert (left.yaw, left.pitch) == (30 * across, -30 * down)
    one_eye = _looking(grey, **scores, eyeBlinkRight=1)
    length = 0.3 * math.sin(math.radians(30)) * SIZE
    np.testing.assert_allclose(_arrow(one_eye), (across * length, down * length), atol=5)


def test_no_gaze_is_drawn_for_closed_eyes(grey):
    shut = {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9}
    segment = _looking(grey, eyeLookDownLeft=1.0, eyeLookDownRight=1.0, **shut)
    picture = preview_face.draw_face(segment, 0, size=SIZE).astype(int)
    assert not np.any(np.abs(picture - preview_face.GAZE_COLOUR).max(-1) < 60)


def _turned(axis, degrees):
    from scipy.spatial.transform import Rotation

    head = np.eye(4, dtype=np.float32)
    head[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return head


def test_angles_of_the_head():
    for axis, degrees, expected in (
        ("y", 25, (25, 0, 0)),
        ("x", -15, (0, 15, 0)),
        ("z", 9, (0, 0, 9)),
    ):
        angles = preview_face.head_angles(_turned(axis, degrees))
        np.testing.assert_allclose((angles.yaw, angles.pitch, angles.roll), expected, atol=1e-4)


def test_axes_turn_with_the_head(grey):
    """Turned to the picture's right by 90 degrees, "out of the face" points right."""
    points = np.full_like(grey.landmarks, 0.9)
    points[:, 4] = 0.5
    segment = dataclasses.replace(
        grey, landmarks=points, head=np.tile(_turned("y", 90), (10, 1, 1))
    )
    picture = preview_face.draw_face(segment, 0, size=SIZE)
    length = int(0.16 * SIZE)
    assert _near(picture[SIZE // 2, SIZE // 2 + length // 2], preview_face.AXIS_COLOURS[2], 60)
    assert _near(picture[SIZE // 2 - length // 2, SIZE // 2], preview_face.AXIS_COLOURS[1], 60)


def test_the_box_is_the_one_that_views_cut(grey, make_segment):
    from talkface_jax.landmarks import boxes

    cut = preview_face.method_boxes(grey)
    source = boxes.from_box(grey.landmarks, grey.box)
    expected = boxes.crop_geometry(source, valid=grey.valid).boxes
    side = grey.box[:, 2:] - grey.box[:, :2]
    np.testing.assert_allclose(cut[:, :2] * side + grey.box[:, :2], expected[:, :2], atol=1e-2)
    np.testing.assert_allclose(cut[:, 2:] * side + grey.box[:, :2], expected[:, 2:], atol=1e-2)
    assert preview_face.method_boxes(make_segment(frames=2, invalid=(0, 1))) is None


@pytest.fixture(scope="module")
def track():
    """Ten seconds of silence with a click at second 7; the mouth opens at frame 175 alone."""
    samples = np.zeros(160_000, np.int16)
    samples[112_000:112_080] = 20_000
    opening, valid = np.zeros(250), np.ones(250, bool)
    opening[175], valid[20] = 0.4, False
    return preview_sound.make_track(samples, opening, valid)


def test_the_sound_scrolls_under_the_cursor(track):
    assert track.opening[175] == 1 and np.isnan(track.opening[20])
    # The strip shows four seconds; the cursor is at the middle of the frame.
    for frame, cursor, click in ((0, 4, None), (150, 400, 596), (174, 400, 404), (249, 796, 200)):
        strip = preview_sound.draw_strip(track, frame=frame, width=800).astype(int)
        white = np.nonzero(np.all(strip == 255, (0, 2)))[0]
        assert white.tolist() == [cursor - 1, cursor]
        wave = strip[preview_sound.MEL_HEIGHT : preview_sound.MEL_HEIGHT + 20]
        loud = np.nonzero(np.abs(wave - (120, 170, 220)).max(-1).min(0) < 30)[0]
        loud = [column for column in loud if abs(column - cursor) > 2]
        if click is None:
            assert loud == []
        else:
            assert min(abs(column - click) for column in loud) <= 1
        mel = strip[40:100, :, 0].mean(0)
        mel[[cursor - 1, cursor]] = 0
        if click is not None:
            # The spectrogram's window is 50 ms, 10 columns.
            assert abs(int(np.argmax(mel)) - click) <= 6


def test_the_overview_shows_the_whole_clip(track):
    picture = preview_sound.draw_overview(track, frames=[0, 100], width=500).astype(int)
    white = np.nonzero(np.all(picture == 255, (0, 2)))[0]
    assert white.tolist() == [1, 201]
    assert abs(int(np.argmax(picture[40:100, 300:, 0].mean(0))) + 300 - 350) <= 2


def test_text_is_wrapped_to_the_width_and_no_letter_is_lost():
    text = "a clip named " + "M003#angry#level_1#" * 6 + " — Größe, «naïve», Ωμέγα"
    lines = preview_text.wrap(text, size=13, width=200, lines=50)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    pen = preview_text.font(13)
    assert all(pen.getlength(line) <= 200 for line in lines) and len(lines) > 3
    cut = preview_text.wrap(text, size=13, width=200, lines=2)
    assert len(cut) == 2 and cut[1].endswith("…") and pen.getlength(cut[1]) <= 200


def test_bars_follow_the_scores(grey):
    panel = preview_text.make_panel(grey, frames=10, size=(512, 288))

    def blue(segment, t=0):
        picture = preview_text.draw_panel(panel, segment, t, shown=t)
        right = picture[:, 124:]  # without the legend's words
        return int(np.sum(np.all(right == preview_text._BAR, -1)))

    scores = grey.blendshapes.copy()
    scores[:, preview_face.BLENDSHAPE["jawOpen"]] = 0.5
    half = blue(dataclasses.replace(grey, blendshapes=scores))
    full = blue(dataclasses.replace(grey, blendshapes=np.ones_like(scores)))
    assert blue(grey) == 0
    assert full / half == pytest.approx(12, rel=0.1)
    assert blue(dataclasses.replace(grey, blendshapes=np.ones_like(scores)), t=3) == 0
