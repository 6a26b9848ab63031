import dataclasses
import errno
import html.parser
import io
import json
import os
import re

import numpy as np
import pytest
import rich.console

from talkface_jax.evaluate import landmarks, plots, report, scores


@pytest.fixture
def result(faces):
    from talkface_jax.landmarks import schemes

    content = schemes.get_scheme("iplap131").groups["content"]
    cases = [
        landmarks.MotionCase(
            name=f"M003/<{i}>&",
            truth=points,
            valid=np.ones(len(points), bool),
            predictions={scores.MODEL: points[:, content] + i},
        )
        for i, points in enumerate(faces)
    ]
    failures = [scores.Failure("lost", scores.MODEL, "no <face> in it")]
    return landmarks.evaluate_motion(
        cases, failures=failures, command="talkface evaluate --pred=x", notes={"bundle": "tiny"}
    )


def test_scores_json_holds_every_number_and_no_nan(result, tmp_path):
    path = tmp_path / "new" / "scores.json"
    scores.write_files(path.parent, {path.name: result.to_json()})
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert found["schema"] == scores.SCHEMA
    model = found["rows"]["model"]
    assert (model["clips"], model["failed"]) == (6, 1)
    lips = [c["values"]["lip_distance"] for c in found["clips"] if c["row"] == "model"]
    assert model["metrics"]["lip_distance"]["value"] == pytest.approx(np.mean(lips), abs=1e-5)
    assert len(model["lag_curve"]) == 21
    assert found["failures"] == [{"clip": "lost", "row": "model", "reason": "no <face> in it"}]
    assert "% of the outer-eye-corner distance" in found["conventions"]["landmarks"]
    assert found["run"]["bundle"] == "tiny"
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


def test_a_nan_becomes_null(result, tmp_path):
    clip = dataclasses.replace(result.clips[0], values={"lip_distance": float("nan")})
    found = json.loads(dataclasses.replace(result, clips=[clip]).to_json())
    assert found["clips"][0]["values"]["lip_distance"] is None


@pytest.mark.parametrize("older", [None, "older"])
def test_on_a_full_disk_both_files_are_as_before_and_the_one_that_failed_is_named(
    result, tmp_path, monkeypatch, older
):
    out = tmp_path / "new" / "scores"
    if older:
        out.mkdir(parents=True)
        for name in ("scores.json", "report.html"):
            (out / name).write_text(older)
    calls = iter([None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def second_fails(descriptor):
        if error := next(calls):
            raise error

    monkeypatch.setattr(report, "render", lambda *_, **__: "page")
    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(OSError, match="No space left") as caught:
        report.write_report(result, out)
    assert (caught.value.errno, caught.value.filename) == (
        errno.ENOSPC,
        str(out / "report.html"),
    )
    left = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == ({"scores.json": older, "report.html": older} if older else {})
    assert (tmp_path / "new").exists() == bool(older)


class _Page(html.parser.HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self):
        super().__init__()
        self.sources, self.text = [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "iframe")
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_report_is_self_contained_and_says_what_was_found(result):
    strips = {"M003/<0>&": np.zeros((2, 3, 32, 24, 3), np.uint8)}
    page = _Page()
    page.feed(report.render(result, strips=strips))
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert len(page.sources) == 3 + 6 + 1
    assert all(source.startswith("data:image/") for source in page.sources)
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 1
    lips = result.rows["model"].metrics["lip_distance"]
    assert f"{lips.value:.2f}" in text
    assert f"[{lips.low:.2f}, {lips.high:.2f}]" in text
    for said in (
        "M003/<5>&",
        "no <face> in it",
        "talkface evaluate --pred=x",
        "static-mouth",
        "mediapipe 1",
        "2000 resamples",
    ):
        assert said in text, said


def test_report_without_a_scored_clip(tmp_path):
    failure = scores.Failure("a", scores.MODEL, "gone")
    empty = scores.summarise(
        "motion", clips=[], failures=[failure], conventions={}, run={"date": ""}
    )
    report.write_report(empty, tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["rows"]["model"]["failed"] == 1
    text = (tmp_path / "report.html").read_text()
    assert "No clip could be scored" in text
    assert "gone" in text


def test_many_clips_are_thinned_out_but_the_worst_and_best_stay(result):
    base = result.of_row(scores.MODEL)[0]
    clips = [
        dataclasses.replace(base, clip=str(i), values={**base.values, "lip_distance": float(i)})
        for i in range(100)
    ]
    shown = report._shown(dataclasses.replace(result, clips=clips))
    assert len(shown) == report.MAX_CLIPS
    assert (shown[0].clip, shown[-1].clip) == ("99", "0")


def test_table_fits_a_terminal_of_80_columns(result):
    console = rich.console.Console(width=80, file=io.StringIO())
    console.print(report.table(result))
    text = console.file.getvalue()
    lips = result.rows["model"].metrics["lip_distance"]
    assert f"{lips.value:.2f}" in text
    assert f"{lips.low:.2f}–{lips.high:.2f}" in text
    assert "6/7" in text, "one of seven failed"
    assert "…" not in text


def test_strip_places_rows_above_each_other():
    colours = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [9, 9, 9]]], np.uint8)
    frames = np.broadcast_to(colours[:, :, None, None], (2, 2, 30, 20, 3))
    image = plots.strip(frames, ("prediction", "truth"))
    assert image.dtype == np.uint8
    middle = [image[15, -35], image[15, -10], image[50, -35], image[50, -10]]
    np.testing.assert_array_equal(middle, colours.reshape(4, 3))
    left = image[:, : image.shape[1] - 2 * 24]
    assert (left.min(-1)[:34] < 128).any() and (left.min(-1)[34:] < 128).any(), "labels are drawn"
    with pytest.raises(ValueError, match="labels"):
        plots.strip(frames, ("prediction",))
