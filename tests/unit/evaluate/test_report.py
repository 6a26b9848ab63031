"""The page and the terminal's table: of one model, and of systems with names of strangers."""

import base64
import dataclasses
import errno
import html.parser
import io
import json
import math
import os
import re

import numpy as np
import pytest
import rich.cells
import rich.console

from talkface_jax.evaluate import page as page_of
from talkface_jax.evaluate import plots, report, scores, summary, terminal
from talkface_jax.evaluate.bootstrap import Interval

SYSTEMS = ("system", "<b onload=x>&\"'", "$a_b$^{", "_model", "\u202eevil\x01\udc80")
"""A class of the page, HTML, mathematics, what legends leave out, what no file can hold."""


@pytest.fixture(scope="module")
def result(make_scores):
    failures = [scores.Failure("lost", scores.MODEL, "no <face> in it")]
    return make_scores(kind="motion", failures=failures)


@pytest.fixture(scope="module")
def several(make_scores):
    """Five systems; the second lacks the clip "M000/0", where the first is best or second."""
    failures = [
        scores.Failure("M000/1", SYSTEMS[1], "no <face> in it"),
        scores.Failure("gone", SYSTEMS[1], "not predicted"),
        scores.Failure("gone", SYSTEMS[2], "not predicted"),
    ]
    found = make_scores(SYSTEMS, clips=4, failures=failures)
    kept = [c for c in found.clips if (c.clip, c.row) != ("M000/1", SYSTEMS[1])]
    return dataclasses.replace(found, clips=kept)


@pytest.fixture(scope="module")
def pictures(several, make_pictures):
    return make_pictures(several, size=(24, 20))


@pytest.fixture(scope="module")
def page(several, pictures):
    found = _Page()
    found.feed(report.render(several, pictures=pictures))
    return found


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
    assert found["run"]["tracker"] == "made up 1"
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
    """Collects what a page would load, its texts, its tables as lists of rows, and its classes."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.sources, self.words, self.classes, self.open = [], [], set(), []
        self.tables, self.alts, self.attributes = [], [], set()

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "iframe", "b")
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        self.sources += [found[name] for name in ("src", "href") if name in found]
        self.classes |= set(found.get("class", "").split())
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.alts.append(found["alt"])
            if "td" in self.open:
                self.tables[-1][-1][-1] += "IMAGE"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def table(self, head):
        """The first table with this column."""
        return next(t for t in self.tables if any(cell.startswith(head) for cell in t[0]))


def test_report_is_self_contained_and_says_what_was_found(result):
    page = _Page()
    page.feed(report.render(result))
    assert not page.open
    assert len(page.sources) == 3 + 6
    assert all(source.startswith("data:image/svg+xml;") for source in page.sources)
    lips = result.rows["model"].metrics["lip_distance"]
    assert f"{lips.value:.2f}" in page.text
    assert f"[{lips.low:.2f}, {lips.high:.2f}]" in page.text
    for said in (
        "M002/5",
        "no <face> in it",
        "talkface evaluate --pred=x",
        scores.ROWS[scores.STATIC_MOUTH],
        "2000 resamples",
        "made up 1",
    ):
        assert said in page.text, said


def test_every_picture_is_in_the_page_once(page, several, pictures):
    jpegs = [source for source in page.sources if source.startswith("data:image/jpeg;")]
    assert len(jpegs) == len(set(jpegs)) == 4 * 6 * (6 + 1)
    assert len(page.sources) == len(jpegs) + 5 + 4
    shown = {base64.b64decode(source.partition(",")[2]) for source in jpegs}
    for found in pictures.values():
        assert shown.issuperset(found.slices.values())
        assert all(shown.issuperset(strip) for strip in found.strips.values())


def test_no_name_becomes_markup(page, several):
    assert not page.open, "every tag is closed"
    for name in SYSTEMS[:4]:
        assert name in page.text
    assert "evil" in page.text and not {"\x01", "\u202e"} & set(page.text)
    known = {"system", "scroll", "quiet", "key", "keys", "rows", "failed", "figures", "text"}
    known |= {"gap", "compared", "better", "worse", "strips", "slices", "frame", "curve"}
    known |= {"name", "failures"}
    assert page.classes <= known
    assert not {name for name in page.attributes if name.startswith("on")}
    page.text.encode()
    highlighted = page.table("failed")
    assert [line[0] for line in highlighted[1:6]][:4] == list(SYSTEMS[:4])


def test_frames_stand_truth_first_under_their_times(page):
    strips = next(t for t in page.tables if "0.80 s" in t[0])
    assert strips[0] == ["", "0.00 s", "0.80 s", "1.60 s", "2.40 s", "3.20 s", "3.96 s"]
    assert [line[0] for line in strips[1:5]] == [scores.GROUND_TRUTH, *SYSTEMS[:3]]
    assert all(line[1:] == ["IMAGE"] * 6 for line in strips[1:])


def test_counts_of_failed_and_lost_frames_are_columns(page, several):
    table = page.table("failed")
    assert table[0][:5] == ["row", "clips", "failed", "facelessframes", "lostframes"]
    by_row = {line[0]: line for line in table[1:]}
    assert by_row[SYSTEMS[1]][2] == "2" and by_row[SYSTEMS[0]][2] == "0"
    last = several.rows[SYSTEMS[-1]]
    assert last.lost == 3 and table[5][3:5] == [str(last.faceless), "3"]


def test_behaviour_is_a_table_of_its_own(page):
    heads = [cell for table in page.tables[:3] for cell in table[0]]
    assert sum(cell.startswith("Mean opening") for cell in heads) == 1
    assert page.tables[2][0][2].startswith("Mean opening")
    assert scores.GROUND_TRUTH in [line[0] for line in page.tables[2]]


def test_a_clip_that_a_system_lacks_says_why(page):
    reasons = [
        line for table in page.tables for line in table if line[1:2] and "failed:" in line[1]
    ]
    assert reasons == [[SYSTEMS[1], "failed: no <face> in it"]]


def interval(value, low, high, n=4):
    return Interval(value, low, high, n)


def test_a_comparison_is_marked_where_its_interval_is_on_one_side(result):
    cases = [
        ("lip_distance", (0.5, 0.4, 0.6), "0.50 [0.40, 0.60]▲"),
        ("lip_distance", (1.5, 1.4, 1.6), "1.50 [1.40, 1.60]▼"),
        ("lip_distance", (0.9, 0.8, 1.0), "0.90 [0.80, 1.00]"),
        ("opening_correlation", (0.5, 0.4, 0.6), "+0.50▲[+0.40, +0.60]"),
        ("opening_correlation", (-0.5, -0.6, -0.4), "−0.50▼[−0.60, −0.40]"),
        ("opening_correlation", (0.5, -0.4, 0.6), "+0.50[−0.40, +0.60]"),
        ("lip_distance", (math.nan, math.nan, math.nan), ""),
    ]
    none = Interval(math.nan, math.nan, math.nan, 0)
    made = {}
    for number, (metric, found, _) in enumerate(cases):
        parts = {"ratio": none, "difference": none}
        parts["ratio" if metric == "lip_distance" else "difference"] = interval(*found)
        made[scores.MODEL, f"row {number}"] = {metric: scores.Comparison(**parts)}
    page = _Page()
    page.feed(report.render(dataclasses.replace(result, comparisons=made)))
    lines = {line[0]: "".join(line[2:]) for table in page.tables for line in table}
    assert [lines[f"row {n}"] for n in range(len(cases))] == [shown for _, _, shown in cases]


def test_groups_and_the_gap_between_the_best_and_the_worst(page, several):
    table = page.table("group")
    group = several.groups[0]
    assert (group.column, group.row) == ("emotion", SYSTEMS[0])
    happy, sad = (group.values[name]["lip_distance"] for name in ("happy", "sad"))
    assert table[1][:3] == [SYSTEMS[0], "happy", "2"]
    assert table[1][3].startswith(f"{happy.value:.2f}")
    ends = ("happy", "sad") if happy.value < sad.value else ("sad", "happy")
    assert table[3][:2] == [SYSTEMS[0], "gap"]
    assert table[3][3] == f"{abs(happy.value - sad.value):.2f}{ends[0]} to {ends[1]}"
    assert len(table) == 1 + 3 * len(SYSTEMS)


def test_report_without_a_scored_clip(tmp_path):
    failure = scores.Failure("a", scores.MODEL, "gone")
    empty = summary.summarise(
        "motion", clips=[], failures=[failure], conventions={}, run={"date": ""}
    )
    report.write_report(empty, tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["rows"]["model"]["failed"] == 1
    text = (tmp_path / "report.html").read_text()
    assert "No clip could be scored" in text
    assert "gone" in text
    assert report.table(empty).row_count == 1


def clips_at(result, distances, row=scores.MODEL):
    base = result.of_row(scores.MODEL)[0]
    return [
        dataclasses.replace(
            base, clip=name, row=row, values={**base.values, "lip_distance": distance}
        )
        for name, distance in distances.items()
    ]


def test_many_clips_are_thinned_out_but_the_worst_and_best_stay(result):
    clips = clips_at(result, {str(i): float(i) for i in range(100)})
    shown, total = page_of.shown_clips(dataclasses.replace(result, clips=clips))
    assert (len(shown), total) == (page_of.MAX_CLIPS, 100)
    assert (shown[0], shown[-1]) == ("99", "0")
    more = dataclasses.replace(result, clips=clips, systems=[scores.MODEL, *"abcde"])
    assert len(page_of.shown_clips(more)[0]) < page_of.MAX_CLIPS, "a page that can be sent"


def test_clips_stand_in_the_order_of_the_first_system_whatever_the_order_given(result):
    ours = clips_at(result, {"a": 1.0, "b": 3.0, "c": float("nan"), "d": 2.0})
    theirs = clips_at(result, {"a": 9.0, "x": 1.0, "y": 5.0}, row="other")
    systems = (scores.MODEL, "other")
    for clips in ([*ours, *theirs], [*theirs[::-1], *ours[::-1]]):
        found = dataclasses.replace(result, clips=clips, systems=systems)
        assert page_of.shown_clips(found) == (["c", "b", "d", "a", "y", "x"], 6)


def printed(found):
    console = rich.console.Console(width=80, file=io.StringIO())
    console.print(report.table(found))
    return console.file.getvalue()


def test_table_fits_a_terminal_of_80_columns(result):
    text = printed(result)
    lips = result.rows["model"].metrics["lip_distance"]
    assert f"{lips.value:.2f}" in text
    assert f"{lips.low:.2f}–{lips.high:.2f}" in text
    assert "6/7" in text, "one of seven failed"
    assert "…" not in text
    ratio = result.ratios()["model", "static-mouth"]
    assert f"model / static-mouth {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" in text
    assert "1 clip failed" in text


def test_table_of_several_systems_holds_the_widest_numbers(several):
    """No number is cut, and a name that is markup of the terminal or too long does no harm."""
    names = ("[red]ours[/nope]", "a-system-of-a-very-long-name", "提案手法提案手法提案")
    wide = dict(
        lip_distance=interval(12.345, 11.234, 13.456),
        opening_correlation=interval(-0.123, -0.234, -0.012),
        lag=interval(-10, -10, 10),
        deviation=interval(0.851, 0.801, 0.912),
        psnr_mouth=interval(31.234, 30.123, 32.345),
        lpips_mouth=interval(0.1234, 0.1123, 0.1345),
    )
    base = several.rows[SYSTEMS[0]]
    row = dataclasses.replace(base, clips=580, failed=20, metrics=wide)
    again = scores.Comparison(interval(0.5, 0.4, 0.6), interval(-1, -2, -0.5))
    found = dataclasses.replace(
        several,
        systems=names,
        rows=dict.fromkeys((*names, scores.SHIFTED_AUDIO, scores.STATIC_MOUTH), row),
        comparisons={(name, scores.STATIC_MOUTH): {"lip_distance": again} for name in names},
    )
    text = printed(found)
    assert max(rich.cells.cell_len(line.rstrip()) for line in text.splitlines()) <= 80
    body = text.partition("lip distance")[0]
    for number in ("580/600", "12.35", "11.2–13.5", "-0.12", "-0.2–-0.0", "-10–+10", "0.85"):
        assert body.count(number) == 5, number
    for number in ("0.80–0.91", "31.23", "30.1–32.3", "0.123", "0.11–0.13", "shifted-audio"):
        assert number in body, number
    assert "[red]ou…/nope]" in body and "a-syste…g-name" in body
    for name in ("[red]ours[/nope]", "a-system-of…-long-name"):
        assert name[:9] in text.partition("lip distance")[2]
    assert text.count("0.50 [0.40,") == 3


def test_the_terminal_compares_with_baselines_and_other_systems_or_with_the_chosen_row(several):
    again = scores.Comparison(interval(0.5, 0.4, 0.6), interval(-1, -2, -0.5))

    def pairs(found):
        made = {pair: {"lip_distance": again} for pair in found}
        shown = terminal.headline_pairs(dataclasses.replace(several, comparisons=made))
        return {(row, over) for row, told in shown.items() for over, _ in told}

    first, second, third = SYSTEMS[:3]
    still, noise = scores.STATIC_MOUTH, scores.NOISE_FLOOR
    every = [(a, b) for a in (first, second) for b in (first, second, still, noise) if a != b]
    assert pairs(every) == {(first, second), (first, still), (second, still)}
    chosen = {(first, third), (second, third)}
    assert pairs(chosen) == chosen
    assert pairs([*every, (still, noise)]) == {(first, second), (first, still), (second, still)}


def test_colours_of_systems_are_distinct_and_depend_on_their_place_only():
    names = [str(k) for k in range(9)]
    looks = plots.styles([*names, *scores.ROWS, "ridge"], systems=names)
    drawn = [(looks[name].colour, looks[name].dash) for name in (*names, scores.GROUND_TRUTH)]
    assert len(set(drawn)) == len(drawn)
    assert plots.styles([], systems=names[:1])["0"] == looks["0"]
    rest = [looks[name].dash for name in scores.BASELINES]
    assert len(set(rest)) == 5 and "-" not in rest


def test_long_names_are_shortened_in_the_middle():
    assert plots.shortened("abcdefghij", 5) == "ab…ij"
    assert plots.shortened("abcdefghij", 6) == "abc…ij"
    assert plots.shortened("abcde", 5) == "abcde"
    assert plots.printable("a\x00\u202e\udc80é提") == "a\ufffd\ufffd\ufffdé提"
