"""The benchmark on a real clip: late, resized, missing, broken and short predictions."""

import json
import pathlib

import cv2
import numpy as np
import pytest

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate import benchmark, pairs, scores
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import SAMPLES_PER_FRAME

LATE = 3


def write(path: pathlib.Path, frames, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, size=frames[0].shape[:2], audio=audio) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def footage(data_dir):
    path = data_dir / "obama_speech.mp4"
    with open_video(path) as video:
        frames = [np.array(video[i]) for i in range(160)]
    return frames, read_clip_audio(path, None, 160)


@pytest.fixture(scope="module")
def directories(footage, tmp_path_factory):
    """True clips, and predictions that are late, larger, missing, no video, too short."""
    frames, audio = footage
    root = tmp_path_factory.mktemp("benchmark")
    spans = {
        "late": (25, 65),
        "sub/large": (110, 140),
        "gone": (0, 8),
        "text": (0, 8),
        "cut": (0, 12),
    }
    for name, (a, b) in spans.items():
        sound = audio[a * SAMPLES_PER_FRAME : b * SAMPLES_PER_FRAME]
        write(root / "truth" / f"{name}.mp4", frames[a:b], sound)
        if name == "late":
            write(root / "pred/late.mp4", [frames[max(a, i - LATE)] for i in range(a, b)], sound)
        if name == "sub/large":
            large = [cv2.resize(frame, (480, 360)) for frame in frames[a:b]]
            write(root / "pred/large.mp4", large, sound)
            write(root / "silent/large.mp4", [large[0]] * (b - a), sound)
        if name == "cut":
            write(root / "pred/cut.mp4", frames[a : b - 6], sound[: -6 * SAMPLES_PER_FRAME])
    (root / "pred/text.mp4").write_text("not a video")
    return root


@pytest.fixture(scope="module")
def result(directories):
    return benchmark.benchmark(
        directories / "pred",
        directories / "truth",
        directories / "out",
        rows={scores.SILENCE: directories / "silent"},
        command="test",
    )


def values(result, row):
    return {clip.clip: clip.values for clip in result.of_row(row)}


def test_a_late_prediction_is_found_late(result):
    found = values(result, scores.MODEL)["late"]
    assert found["lag"] == LATE
    assert found["opening_correlation"] < 0.9
    assert found["deviation"] == pytest.approx(1, abs=0.15)
    still = values(result, scores.STATIC_MOUTH)["late"]
    assert still["deviation"] < 0.2


def test_a_resized_prediction_is_nearly_perfect(result):
    """Alignment and own boxes: only the tracker's noise and the codec remain."""
    found = values(result, scores.MODEL)["sub/large"]
    late = values(result, scores.MODEL)["late"]
    floor = values(result, scores.NOISE_FLOOR)["sub/large"]
    still = values(result, scores.STATIC_MOUTH)["sub/large"]
    assert found["lip_distance"] < 1.5 * floor["lip_distance"] < still["lip_distance"]
    assert found["lag"] == 0
    assert found["ssim_face"] > 0.9 > late["ssim_face"]
    assert found["psnr_face"] > late["psnr_face"] + 3


def test_ground_truth_row_is_perfect(result):
    for found in values(result, scores.GROUND_TRUTH).values():
        assert found["lip_distance"] == 0
        assert found["ssim_mouth"] == 1
    assert result.rows[scores.GROUND_TRUTH].clips == 5


def test_shifted_audio_is_made_from_the_prediction(result):
    found = values(result, scores.SHIFTED_AUDIO)["late"]
    assert found["lag"] == LATE - 10
    assert found["lip_distance"] > values(result, scores.MODEL)["late"]["lip_distance"]
    assert "ssim_face" not in found


def test_every_failure_is_counted_with_its_reason(result):
    reasons = {f.clip: f.reason for f in result.failures if f.row == scores.MODEL}
    assert set(reasons) == {"gone", "text", "cut"}
    assert "no video of this name was predicted" in reasons["gone"]
    assert "text.mp4" in reasons["text"]
    assert "6 frames at 25 fps and its truth 12" in reasons["cut"]
    for row, clips, failed in (
        (scores.MODEL, 2, 3),
        (scores.SHIFTED_AUDIO, 2, 3),
        (scores.SILENCE, 1, 4),
        (scores.STATIC_MOUTH, 5, 0),
    ):
        assert (result.rows[row].clips, result.rows[row].failed) == (clips, failed), row


def test_report_and_scores_are_written(result, directories):
    found = json.loads((directories / "out/scores.json").read_text())
    assert found["kind"] == "benchmark"
    order = ("model", "ground-truth", "tracker-noise", "static-mouth", "shifted-audio", "silence")
    assert list(found["rows"]) == list(order)
    page = (directories / "out/report.html").read_text()
    assert page.count("data:image/jpeg") == 2, "a frame strip for each scored clip"
    assert "gone" in page


def test_bad_directories_are_one_sentence_errors(directories, tmp_path):
    truth, pred = directories / "truth", directories / "pred"
    with pytest.raises(MediaError, match="not a directory"):
        benchmark.benchmark(pred, tmp_path / "none", tmp_path / "out")
    with pytest.raises(MediaError, match="no video"):
        benchmark.benchmark(tmp_path, truth, tmp_path / "out")
    with pytest.raises(TalkfaceError, match="is an input"):
        benchmark.benchmark(pred, truth, truth)
    with pytest.raises(TalkfaceError, match="made from the truth"):
        benchmark.benchmark(pred, truth, tmp_path / "out", rows={scores.GROUND_TRUTH: pred})
    assert not (tmp_path / "out").exists()


def test_pairs_by_path_then_by_unique_stem():
    def paths(*names):
        return {name: pathlib.Path(f"{name}.mp4") for name in names}

    found = pairs.pair(paths("a/x", "b/x", "c/y", "z"), paths("a/x", "y", "x", "w"))
    assert found.pairs == {
        "a/x": pathlib.Path("a/x.mp4"),
        "b/x": None,
        "c/y": pathlib.Path("y.mp4"),
        "z": None,
    }
    assert found.strangers == ("x", "w")
