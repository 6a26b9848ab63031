"""Scores in a terminal of 80 columns: the headline numbers of every row."""

import math
from typing import TYPE_CHECKING

from talkface_jax.errors import counted
from talkface_jax.evaluate import plots, scores
from talkface_jax.evaluate.columns import format_value

if TYPE_CHECKING:
    from rich.table import Table

    from talkface_jax.evaluate.bootstrap import Interval

_MOTION = {
    "lip_distance": "lips, %\neye dist.",
    "opening_correlation": "opening\ncorrel.",
    "lag": "lag,\nframes",
    "deviation": "deviation\npred/true",
}
HEADLINE = {
    "motion": _MOTION,
    "benchmark": {**_MOTION, "psnr_mouth": "PSNR\nmouth, dB", "lpips_mouth": "LPIPS\nmouth"},
}
"""Columns by kind of evaluation, with their heads."""
_EMOTION = "emotion_accuracy"
_VALUE = 5
_BOUND = {"benchmark": 4, "motion": 5}
_NAME = {"benchmark": 14, "motion": 18}
"""Characters of a value, of a bound of its interval, and of a row's name: 80 columns in all."""


def table(result: scores.Scores) -> "Table":
    """The headline metrics: value and interval by row, clips scored and failed.

    Under it stand the paired ratios of lip distances: of each system over the baselines, of the
    first over the other systems; where all are compared with one row, over that.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heads = {
        name: head
        for name, head in HEADLINE[result.kind].items()
        if any(name in row.metrics for row in result.rows.values())
    }
    view = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=0,
        caption=Text("\n".join(_caption(result)), style="table.caption"),
        caption_justify="left",
    )
    view.add_column("row", no_wrap=True, max_width=_NAME[result.kind])
    view.add_column("clips", justify="right", overflow="fold")
    for head in heads.values():
        view.add_column(head, justify="right", no_wrap=True)
    for row, summary in result.rows.items():
        tone = "bold" if row in result.systems else ""
        clips = Text(str(summary.clips))
        if summary.failed:
            clips = Text(f"{summary.clips}/{summary.clips + summary.failed}", style="red")
        widest = _BOUND[result.kind]
        cells = [_cell(name, summary.metrics.get(name), widest) for name in heads]
        view.add_row(Text(plots.shortened(row, _NAME[result.kind]), style=tone), clips, *cells)
    return view


def _cell(name: str, interval: "Interval | None", widest: int) -> str:
    """Value, and beneath it the interval where it has a width."""
    if interval is None:
        return ""
    value = _narrow(name, interval.value, _VALUE)
    if interval.low == interval.high or not math.isfinite(interval.low):
        return value
    low, high = (_narrow(name, bound, widest) for bound in (interval.low, interval.high))
    return f"{value}\n[dim]{low}–{high}[/]"


def _narrow(name: str, value: float, widest: int) -> str:
    """A number, rounded further where its usual digits make it wider."""
    text = format_value(name, value)
    digits = len(text.partition(".")[2])
    spare = max(0, len(text) - widest)
    return format_value(name, value, digits=max(0, digits - spare)) if digits else text


def headline_pairs(result: scores.Scores) -> dict[str, list[tuple[str, "Interval"]]]:
    """By system, the rows whose lip distance its own is held against, and the ratio."""
    ratios = result.ratios()
    one = len({over for _, over in ratios}) == 1
    first = result.systems[0] if result.systems else ""
    found: dict[str, list[tuple[str, Interval]]] = {}
    for (row, over), ratio in ratios.items():
        if one or over in scores.BASELINES or (row == first and over in result.systems):
            found.setdefault(row, []).append((over, ratio))
    return found


def _caption(result: scores.Scores) -> list[str]:
    lines = []
    for row, pairs in headline_pairs(result).items():
        told = [
            f"{plots.shortened(over)} {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
            for over, ratio in pairs
        ]
        lines.append(f"lip distance, {plots.shortened(row)} / " + ", / ".join(told))
    counts = {
        "lost": "frames without a face although the truth shows one, counted against the system",
        "missing": "frames at the end that were not predicted, and are not compared",
    }
    for name, what in counts.items():
        told = [
            f"{plots.shortened(row)} {getattr(result.rows[row], name)}"
            for row in result.systems
            if row in result.rows and getattr(result.rows[row], name)
        ]
        if told:
            lines.append(f"{what}: " + ", ".join(told))
    read = [
        f"{plots.shortened(row)} {summary.metrics[_EMOTION].value:.0%}"
        for row, summary in result.rows.items()
        if _EMOTION in summary.metrics
    ]
    if read:
        lines.append("emotion read right: " + ", ".join(read))
    if "metadata" in result.run:
        lines.append(f"metadata: {result.run['metadata']}")
    if result.failures:
        failed = len({failure.clip for failure in result.failures})
        names = "reasons in scores.json and report.html"
        lines.append(f"{counted(failed, 'clip')} failed in some row: {names}")
    return [*lines, result.conventions["intervals"]]
