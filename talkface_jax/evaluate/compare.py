"""Two evaluations against each other, over the clips that both scored.

Before and after a change, or two people's systems over one data set: numbers are paired by clip,
and whatever else differs between the two runs (tracker, revision, crops, truth) is stated.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from talkface_jax.errors import TalkfaceError, counted
from talkface_jax.evaluate import bootstrap, plots, scores, summary
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.columns import METRICS, format_value
from talkface_jax.evaluate.scores import ClipScore
from talkface_jax.evaluate.stored import StoredScores, read_scores

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ScoresComparison", "compare", "compare_table", "read_scores"]

_NAME = 22
EXPECTED = ("command", "date")
"""Topics of a run that differ always."""


@dataclasses.dataclass(frozen=True)
class MetricChange:
    """A metric of a row in both evaluations, over the clips in which both have it.

    Attributes:
      a, b: means.
      difference: b - a; ratio: b / a of the means; both paired.
    """

    a: float
    b: float
    difference: Interval
    ratio: Interval


@dataclasses.dataclass(frozen=True)
class RowChange:
    """A row of both evaluations.

    Attributes:
      a, b: its name in each.
      clips: that both scored in it; only_a, only_b: that one of them did.
    """

    a: str
    b: str
    clips: int
    only_a: int
    only_b: int
    metrics: Mapping[str, MetricChange]


@dataclasses.dataclass(frozen=True)
class Fact:
    """What one run states otherwise than the other; "" where it says nothing."""

    topic: str
    a: str
    b: str


@dataclasses.dataclass(frozen=True)
class ScoresComparison:
    """Evaluation b against evaluation a.

    Attributes:
      rows: systems first.
      clips: scored by both in any row that both have; only_a, only_b: scored in one of them.
      facts: what differs between the runs.
    """

    kind: str
    a: str
    b: str
    rows: tuple[RowChange, ...]
    clips: int
    only_a: int
    only_b: int
    facts: tuple[Fact, ...]


def compare(a: StoredScores, b: StoredScores, *, seed: int = 0) -> ScoresComparison:
    """What changed from `a` to `b`, in every row that both have.

    A row is the same where it has the same name and is a system in both or in neither; the first
    systems are compared under different names where neither file has the other's. The row of the
    truth is left out: it is perfect in any evaluation.

    Args:
      a, b: of one kind.
      seed: of the bootstrap, which resamples speakers, then clips.

    Raises:
      TalkfaceError: the kinds differ, no row is common, or no clip.
    """
    if a.kind != b.kind:
        raise TalkfaceError(
            f"{a.path} is of kind {a.kind} and {b.path} of kind {b.kind}; compare two of one kind"
        )
    pairs = _pairs(a, b)
    if not pairs:
        raise TalkfaceError(f"{a.path} and {b.path} have no row in common; compare the same rows")
    shared = [set(a.rows[ours]) & set(b.rows[theirs]) for ours, theirs in pairs]
    if not any(shared):
        raise TalkfaceError(
            f"{a.path} and {b.path} have no scored clip in common; evaluate the same clips"
        )
    ours, theirs = (
        {clip for names in pairs for clip in side.rows[names[place]]}
        for place, side in enumerate((a, b))
    )
    return ScoresComparison(
        kind=a.kind,
        a=str(a.path),
        b=str(b.path),
        rows=tuple(
            _row(pair, a.rows[pair[0]], b.rows[pair[1]], seed=seed)
            for pair, common in zip(pairs, shared, strict=True)
            if common
        ),
        clips=len(ours & theirs),
        only_a=len(ours - theirs),
        only_b=len(theirs - ours),
        facts=_facts(a, b),
    )


def _pairs(a: StoredScores, b: StoredScores) -> list[tuple[str, str]]:
    """Names of a row in both files, in the order of the table."""
    found = [
        (name, name)
        for name in a.rows
        if name in b.rows and (name in a.systems) == (name in b.systems)
    ]
    ours, theirs = a.systems[0], b.systems[0]
    strangers = ours not in b.rows and theirs not in a.rows
    if strangers and ours in a.rows and theirs in b.rows:
        found.append((ours, theirs))
    order = scores.table_order([ours for ours, _ in found], systems=a.systems)
    found.sort(key=lambda pair: order.index(pair[0]))
    return [pair for pair in found if pair[0] != scores.GROUND_TRUTH]


def _row(
    pair: tuple[str, str],
    ours: Mapping[str, ClipScore],
    theirs: Mapping[str, ClipScore],
    *,
    seed: int,
) -> RowChange:
    common = sorted(set(ours) & set(theirs))
    before, after = ({name: side[name] for name in common} for side in (ours, theirs))
    # compare_clips divides its first by its second, and a change is counted from a.
    found = summary.compare_clips(after, before, seed=seed)
    metrics = {}
    for name, change in found.items():
        values = np.asarray(
            [[side[clip].values.get(name, np.nan) for clip in common] for side in (before, after)]
        )
        means = values[:, np.isfinite(values).all(0)].mean(1)
        metrics[name] = MetricChange(
            float(means[0]), float(means[1]), change.difference, change.ratio
        )
    return RowChange(
        *pair,
        clips=len(common),
        only_a=len(ours) - len(common),
        only_b=len(theirs) - len(common),
        metrics=metrics,
    )


def _facts(a: StoredScores, b: StoredScores) -> tuple[Fact, ...]:
    """Topics of the runs and of the conventions that are not the same in both."""
    found = []
    for ours, theirs in ((a.run, b.run), (a.conventions, b.conventions)):
        for topic in dict.fromkeys((*ours, *theirs)):
            texts = ours.get(topic, ""), theirs.get(topic, "")
            if texts[0] != texts[1] and topic not in EXPECTED:
                found.append(Fact(topic, *texts))
    return tuple(found)


def _parts(text: str, other: str) -> str:
    """What of a text in parts ("numpy 2.1, jax 0.10") the other does not say."""
    if not text:
        return "says nothing"
    known = set(_split(other))
    return ", ".join(part for part in _split(text) if part not in known) or text


def _split(text: str) -> list[str]:
    return [part.strip() for piece in text.split("; ") for part in piece.split(", ")]


def compare_table(found: ScoresComparison) -> "Table":
    """The comparison for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=0,
        caption=Text("\n".join(_caption(found)), style="table.caption"),
        caption_justify="left",
    )
    view.add_column("row", no_wrap=True, min_width=_NAME, max_width=_NAME)
    for head in ("A", "B"):
        view.add_column(head, justify="right", no_wrap=True)
    for head in ("B - A ", "B / A "):  # wide intervals are broken, no number is cut
        view.add_column(head, justify="right")
    for row in found.rows:
        name = row.a if row.a == row.b else f"{row.a}, {row.b}"
        view.add_row(Text(plots.shortened(name, _NAME), style="bold"), "", "", "", "")
        for metric, change in row.metrics.items():
            view.add_row(
                f"  {METRICS[metric].label.removesuffix(' in time')}",
                format_value(metric, change.a),
                format_value(metric, change.b),
                _change(metric, change.difference),
                _ratio(metric, change.ratio),
            )
    return view


def _change(metric: str, found: Interval) -> str:
    def shown(value: float) -> str:
        return f"{'+' * (value > 0)}{format_value(metric, value)}"

    return _interval(found, shown, neutral=0.0)


def _ratio(metric: str, found: Interval) -> str:
    """Of distances; the ratio of decibels or of correlations means nothing."""
    if METRICS[metric].better != "lower":
        return ""
    return _interval(found, "{:.2f}".format, neutral=1.0)


def _interval(found: Interval, shown: Callable[[float], str], *, neutral: float) -> str:
    """A number and its interval, starred where that excludes the neutral one."""
    if not math.isfinite(found.value):
        return "– "
    text = shown(found.value)
    if found.low != found.high and math.isfinite(found.low):
        text += f" [{shown(found.low)}, {shown(found.high)}]"
    return text + ("*" if found.low > neutral or found.high < neutral else " ")


def _caption(found: ScoresComparison) -> list[str]:
    lines = [f"A {plots.printable(found.a)}", f"B {plots.printable(found.b)}"]
    for row in found.rows:
        if row.a != row.b:
            names = f"{plots.printable(row.a)} of A and {plots.printable(row.b)} of B"
            lines.append(f"compared under different names: {names}")
    alone = [
        f"{counted(count, 'more clip')} only in {side}"
        for side, count in (("A", found.only_a), ("B", found.only_b))
        if count
    ]
    lines.append(", ".join([f"{counted(found.clips, 'clip')} in both", *alone]))
    lines += [
        f"only {plots.shortened(row.a)}: {counted(row.clips, 'clip')} in both"
        for row in found.rows
        if row.clips != found.clips
    ]
    lines.append(f"* the interval excludes no change; {bootstrap.CONVENTION}")
    if found.facts:
        lines.append(
            "the runs differ; numbers of different trackers, crops or truths do not compare:"
        )
    for fact in found.facts:
        ours, theirs = _parts(fact.a, fact.b), _parts(fact.b, fact.a)
        lines.append(plots.printable(f"  {fact.topic}: A {ours}; B {theirs}"))
    return lines
