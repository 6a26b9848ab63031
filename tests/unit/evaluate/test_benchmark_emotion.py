"""The columns of clips whose emotion is known, on a real clip; and that others have none."""

import json

import cv2
import numpy as np
import pytest

from talkface_jax.evaluate import benchmark, expression, scores
from talkface_jax.evaluate.benchmark import Options, System
from talkface_jax.evaluate.metadata import Metadata
from talkface_jax.features import emotion
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.metrics import closure
from talkface_jax.records import EMOTIONS

NAMES = {"emotion_accuracy", "closures", "mld", "fld", "mlvd", "flvd"}
LEGACY = {"mld_legacy", "fld_legacy", "mlvd_legacy", "flvd_legacy"}
FRAMES = 60


def write(path, frames, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, size=frames[0].shape[:2], audio=audio) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def folders(data_dir, tmp_path_factory):
    """One true clip; the same at twice the size; and one that comes five frames late."""
    source = data_dir / "obama_speech.mp4"
    root = tmp_path_factory.mktemp("emotion")
    with open_video(source) as video:
        frames = [np.array(video[i]) for i in range(FRAMES)]
    audio = read_clip_audio(source, None, FRAMES)
    small = [
        cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in frames
    ]
    write(root / "truth/clip.mp4", frames, audio)
    write(root / "small/clip.mp4", small, audio)
    write(root / "late/clip.mp4", [frames[max(0, i - 5)] for i in range(FRAMES)], audio)
    return root


def run(folders, out, about, **options):
    return benchmark.benchmark(
        {name: System(folders / name) for name in ("small", "late")},
        folders / "truth",
        folders / out,
        metadata=Metadata({"clip": about}),
        options=Options(tracks=folders / "tracks", **options),
        command="test",
    )


@pytest.fixture(scope="module")
def shown(folders):
    """The emotion that the reader finds in the true clip."""
    with open_video(folders / "truth/clip.mp4") as video, FaceTracker() as tracker:
        track = track_video(video, tracker=tracker)
    return EMOTIONS[emotion.load().classify(track.blendshapes, track.valid)]


def test_labelled_clips_have_the_columns(folders, shown, monkeypatch):
    # The recogniser hears no p, b or m in these seconds.
    monkeypatch.setattr(closure, "heard", lambda logits: np.linspace(0.1, 2.3, 23))
    result = run(folders, "labelled", {"emotion": shown, "level": "2"}, legacy=True)
    values = {item.row: item.values for item in result.clips}
    truth, still = values[scores.GROUND_TRUTH], values[scores.STATIC_MOUTH]
    assert truth["emotion_accuracy"] == values["late"]["emotion_accuracy"] == 1
    for name in ("mld", "fld", "mlvd", "flvd"):
        assert truth[name] == 0
        # Size does not show, lateness does.
        assert 0 < values["small"][name] < values["late"][name]
    assert set(values["late"]) >= LEGACY
    ratio = values["late"]["flvd_legacy"] / values["late"]["mlvd_legacy"]
    assert ratio == pytest.approx(20 / 68)
    assert still["closures"] == 0 and 0.1 < truth["closures"] < 0.9
    assert "emotion_accuracy" not in still and still["mlvd"] > 0
    assert set(expression.CONVENTIONS) | set(expression.LEGACY_CONVENTIONS) <= set(
        result.conventions
    )
    assert result.rows["small"].metrics["mld"].value == pytest.approx(values["small"]["mld"])


def test_a_wrong_label_is_told(folders, shown):
    wrong = EMOTIONS[(EMOTIONS.index(shown) + 3) % 8]
    result = run(folders, "wrong", {"emotion": wrong})
    truth = next(item for item in result.clips if item.row == scores.GROUND_TRUTH)
    assert truth.values["emotion_accuracy"] == 0
    assert truth.notes == (f"its face reads as {shown}, not {wrong}",)


def test_without_a_label_nothing_of_it_is_shown(folders):
    result = run(folders, "plain", {"view": "front"})
    assert all(not (NAMES | LEGACY) & set(item.values) for item in result.clips)
    assert not set(expression.CONVENTIONS) & set(result.conventions)
    stored = json.loads((folders / "plain/scores.json").read_text())
    assert all(not NAMES & set(row["metrics"]) for row in stored["rows"].values())
    assert "M-LVD" not in (folders / "plain/report.html").read_text()
