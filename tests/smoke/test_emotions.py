"""`talkface evaluate --bundle --data` of a method that shows the emotion that is asked for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from talkface_jax import capabilities, emotions
from talkface_jax.api import evaluating
from talkface_jax.capabilities import Aspect, Declaration
from talkface_jax.cli.main import main
from talkface_jax.landmarks import boxes, schemes
from talkface_jax.records import Motion

BROWS = schemes.get_scheme("ibug68").position(105)
DECLARATION = Declaration(
    name="mood",
    paper="none",
    stages={},
    generates=(Aspect.MOUTH, Aspect.EMOTION),
    controls=(capabilities.EMOTION, capabilities.LEVEL, capabilities.FACE_EMOTION),
)


class Chain:
    """The tracked face, a brow raised by each emotion as its level says."""

    asked = 0

    def prepare(self, track, *, references=None):
        made = boxes.crop_geometry(track.landmarks, valid=track.valid, scheme="ibug68")
        seen = track.valid if references is None else track.valid & references
        return SimpleNamespace(geometry=made, order=np.flatnonzero(seen)[:3])

    def predict_motion(self, track, *, samples, controls=None, references=None):
        points = self.prepare(track).geometry.points.copy()
        if controls:
            Chain.asked += 1
            weights = emotions.requested(controls, 1)[0]
            points[:, BROWS, 1] -= 0.1 * weights.sum()
        return Motion("ibug68", points)


@pytest.fixture
def mood(monkeypatch):
    """A bundle of a method that is there for this alone."""
    manifest = SimpleNamespace(weight_id="made up", method="mood")
    bundle = SimpleNamespace(manifest=manifest)
    monkeypatch.setattr(evaluating, "load_bundle", lambda path: bundle)
    monkeypatch.setattr(evaluating.engine, "build_chain", lambda bundle: Chain())
    monkeypatch.setattr(evaluating.registry, "declaration", lambda name: DECLARATION)
    monkeypatch.setattr(Chain, "asked", 0)


def _evaluate(data, out, *more):
    return main(["evaluate", "--bundle=any", f"--data={data}", f"--out={out}", *more])


def test_emotions_are_measured_and_told(mood, synthetic_heads, tmp_path, capsys):
    assert _evaluate(synthetic_heads, tmp_path) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"scores.json", "report.html", "emotions.json", "emotions.html"}
    found = json.loads((tmp_path / "emotions.json").read_text())
    assert (found["clips"], found["grows"], found["worst"]["correlation"]) == (1, True, 1.0)
    # The tracker ran on the clip's own frames once more.
    noise = found["rows"]["tracker-noise"]["metrics"]
    assert 0 < noise["face_distance"]["value"] < 10
    assert found["rows"]["ground-truth"]["metrics"]["fld"]["value"] == 0
    # Two emotions at different levels: the brow's point is one of 68.
    moved = found["effects"]["sad"]["displacement"]
    assert moved["3"]["value"] == pytest.approx(3 * moved["1"]["value"], rel=1e-3)
    # Something was heard in a real recording, and the true mouth closes on most of it.
    heard = found["effects"]["happy"]["closures"]
    assert heard["moments"] >= 1
    printed = capsys.readouterr().out
    assert "emotions, 1 clips" in printed.replace("\n", " ") and "emotions.html" in printed


def test_a_report_can_be_left_out(mood, synthetic_heads, tmp_path):
    assert _evaluate(synthetic_heads, tmp_path, "--without=emotion", "--without=blinks") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "report.html"}
    # The label of the clip was asked for all the same: own, shifted, silent and both halves.
    assert Chain.asked == 5


def test_where_no_clip_is_labelled_it_is_said(mood, synthetic_heads, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluating.emotion_cases, "label", lambda info: None)
    assert _evaluate(synthetic_heads, tmp_path) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "emotions were not measured: no clip of the split says which emotion it shows" in told
    assert not (tmp_path / "emotions.json").exists()


@pytest.mark.parametrize("flags", [("--pred=a", "--truth=b"), ("--compare", "a", "b")])
def test_reports_of_landmarks_are_left_out_of_landmarks_only(flags, tmp_path):
    out = () if flags[0] == "--compare" else (f"--out={tmp_path}",)
    said = refused_usage(flags, out)
    assert "--without does not go with" in said


def refused_usage(flags, out):
    """What is printed for wrong usage."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stderr(text), pytest.raises(SystemExit) as stop:
        main(["evaluate", *flags, *out, "--without=emotion"])
    assert stop.value.code == 2
    return text.getvalue()
