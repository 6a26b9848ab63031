"""LPIPS of the face where it is asked for; turns over the frames that both videos have."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talkface_jax.evaluate import benchmark, clip, columns, crops, scores
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.metrics import turns
from talkface_jax.records import FaceTrack

FRAMES = 7
FACE, MOUTH = (8, 4, 40, 44), (16, 28, 32, 40)


@pytest.fixture
def videos():
    """Two of noise, which differ at the upper face alone from frame to frame more."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 200, (FRAMES, 48, 48, 3)).astype(np.uint8)
    pred = truth.copy()
    pred[:, 4:16] += np.arange(FRAMES, dtype=np.uint8)[:, None, None, None]
    return pred, truth


@pytest.fixture
def views():
    boxes = crops.Boxes(*(np.tile(np.float64(box), (FRAMES, 1)) for box in (FACE, MOUTH)))
    return crops.Views(boxes, boxes, None)


def difference(ours, theirs):
    """Stands for LPIPS: the mean of the crops' differences; it notes their sizes."""
    return np.abs(ours.astype(float) - theirs).mean((1, 2, 3))


def test_lpips_of_the_face_is_that_of_the_face(videos, views):
    pred, truth = videos
    valid = np.arange(FRAMES) != 3
    sizes = []

    def distance(ours, theirs):
        sizes.append(ours.shape[1:3])
        return difference(ours, theirs)

    plain = crops.image_scores(pred, truth, views, valid=valid, distance=distance)
    assert "lpips_face" not in plain and sizes == [crops.MOUTH_SIZE]
    whole = crops.image_scores(pred, truth, views, valid=valid, distance=distance, whole=True)
    assert set(whole) - set(plain) == {"lpips_face"}
    assert set(sizes) == {crops.MOUTH_SIZE, crops.FACE_SIZE}
    assert {name: whole[name] for name in plain} == plain
    frames = np.flatnonzero(valid)
    faces = (crops.cut(video, views.pred.face, frames, crops.FACE_SIZE) for video in videos)
    assert whole["lpips_face"] == pytest.approx(difference(*faces).mean())
    assert whole["lpips_face"] > 0.5 and whole["lpips_mouth"] == 0


def make_track(frames, yaw):
    head = np.tile(np.eye(4), (frames, 1, 1))
    head[:, :3, :3] = Rotation.from_rotvec(np.deg2rad(yaw[:frames, None]) * [0, 1, 0]).as_matrix()
    return FaceTrack(
        landmarks=np.zeros((frames, 478, 3), np.float32),
        blendshapes=np.zeros((frames, 52), np.float32),
        head=head.astype(np.float32),
        box=np.zeros((frames, 4), np.float32),
        valid=np.ones(frames, bool),
        size=(100, 100),
    )


def test_turns_are_compared_over_the_frames_of_both():
    """The longer one goes on turning, the other way."""
    yaw = 10 * np.sin(np.arange(60) / 5)
    other = np.where(np.arange(60) < 50, yaw, -yaw)
    long, short = make_track(60, other), make_track(50, yaw)
    for pred, truth in ((long, short), (short, long)):
        found = turns.correlations(pred, truth, valid=np.ones(50, bool))
        assert found["yaw_correlation"] == pytest.approx(1)
        assert np.isnan([found["pitch_correlation"], found["gaze_correlation"]]).all()


def test_the_columns_stand_in_the_table():
    for name in ("yaw_correlation", "pitch_correlation", "gaze_correlation"):
        assert columns.METRICS[name].better == "higher"
    assert columns.METRICS["lpips_face"].better == "lower"
    assert columns.METRICS["lpips_face"].judged


@pytest.fixture(scope="module")
def scored(data_dir, tmp_path_factory):
    """A second of a real clip: as it is, and late."""
    root = tmp_path_factory.mktemp("whole")
    with open_video(data_dir / "obama_speech.mp4") as video:
        frames = [np.array(video[index]) for index in range(30, 62)]
    rows = {
        "truth": frames[2:],
        "exact": frames[2:],
        "late": frames[:-2],
    }
    for row, shown in rows.items():
        (root / row).mkdir()
        with VideoWriter(root / row / "clip.mp4", size=shown[0].shape[:2]) as writer:
            for frame in shown:
                writer.write(frame)
    systems = {row: benchmark.System(root / row) for row in rows if row != "truth"}
    found = benchmark.benchmark(
        systems,
        root / "truth",
        root / "out",
        options=benchmark.Options(tracks=root / "tracks", whole=True),
        command="test",
    )
    return {row: found.of_row(row)[0].values for row in (*systems, *clip.TRUE_ROWS)}


def test_a_benchmark_counts_lpips_of_the_face_where_asked(scored):
    assert scored[scores.GROUND_TRUTH]["lpips_face"] == 0
    assert scored["exact"]["lpips_face"] == pytest.approx(0, abs=1e-6)
    assert 0.001 < scored["late"]["lpips_face"] != scored["late"]["lpips_mouth"]
    assert "lpips_face" not in scored[scores.STATIC_MOUTH]
    assert benchmark.Options().whole is False


def test_a_benchmark_tells_how_head_and_eyes_turn(scored):
    names = ("yaw_correlation", "pitch_correlation", "gaze_correlation")
    truth = [scored[scores.GROUND_TRUTH][name] for name in names]
    assert np.isfinite(truth[:2]).all(), "the head moves"
    np.testing.assert_allclose(np.array(truth)[np.isfinite(truth)], 1)
    np.testing.assert_allclose([scored["exact"][name] for name in names], truth)
    for name in names[:2]:  # A blink leaves few frames of the gaze.
        assert scored["late"][name] < 0.999
    assert names[0] not in scored[scores.STATIC_MOUTH]
