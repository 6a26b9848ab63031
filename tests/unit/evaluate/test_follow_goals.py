"""The goals of a picture that follows a video, against made-up reports."""

import json

import pytest

from talkface_jax.capabilities import COPIED, reenactment_goals
from talkface_jax.evaluate import goals

TURNS = ("yaw_correlation", "pitch_correlation", "gaze_correlation", "opening_correlation")


def _interval(value, width=0.0):
    return {"value": value, "low": value - width, "high": value + width, "n": 8}


def _row(*, lpips, psnr, follows):
    numbers = {"lpips_face": _interval(lpips, 0.04), "psnr_face": _interval(psnr, 1.0)}
    return {"metrics": numbers | {name: _interval(follows) for name in TURNS}}


def _missed(folder, *, model, ratio):
    """Goals that a report misses, whose model's LPIPS is so much of the copied picture's."""
    rows = {
        "model": model,
        "untrained": _row(lpips=0.13, psnr=22.0, follows=0.1),
        COPIED: _row(lpips=0.12, psnr=22.5, follows=0.0),
    }
    compared = {COPIED: {"lpips_face": {"ratio": ratio, "difference": _interval(0.0)}}}
    (folder / "scores_video").mkdir()
    report = {"rows": rows, "comparisons": {"model": compared}}
    (folder / "scores_video" / "scores.json").write_text(json.dumps(report))
    verdicts = goals.judge(reenactment_goals(), folder)
    return {verdict.goal.what for verdict in verdicts if not verdict.met}


def test_a_picture_that_follows_meets_them_though_clips_differ(tmp_path):
    """The rows' own intervals of LPIPS overlap; clip by clip the model's is the smaller."""
    model = _row(lpips=0.07, psnr=28.0, follows=0.85)
    assert _missed(tmp_path, model=model, ratio=_interval(0.6, 0.1)) == set()


def test_the_picture_itself_meets_none_of_them(tmp_path):
    model = _row(lpips=0.12, psnr=22.5, follows=0.0)
    missed = _missed(tmp_path, model=model, ratio=_interval(1.0))
    assert len(missed) == 6 and not any("untrained" in what for what in missed)


@pytest.mark.parametrize("ratio", [_interval(0.6, 0.5), _interval(0.75, 0.1)])
def test_less_by_chance_or_by_too_little_is_not_enough(tmp_path, ratio):
    model = _row(lpips=0.07, psnr=28.0, follows=0.85)
    missed = _missed(tmp_path, model=model, ratio=ratio)
    assert missed == {"face, LPIPS, model / picture copied"}
