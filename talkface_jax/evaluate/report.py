"""Scores for people: a table for the terminal, and one self-contained report.html."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from talkface_jax.errors import counted
from talkface_jax.evaluate import plots, scores

if TYPE_CHECKING:
    from rich.table import Table

    from talkface_jax.evaluate.bootstrap import Interval

HEADLINE = {
    "lip_distance": "lips, %\neye dist.",
    "opening_correlation": "opening\ncorrel.",
    "lag": "lag,\nframes",
    "deviation": "deviation\npred/true",
    "psnr_face": "PSNR\nface, dB",
    "ssim_face": "SSIM\nface",
}
"""Columns of the terminal's table, with their heads."""
_SHORT_DIGITS = {"psnr_face": 1, "ssim_face": 2}
_IMAGES = ("psnr_face", "ssim_face", "psnr_mouth", "ssim_mouth")
TABLES = ([name for name in scores.METRICS if name not in _IMAGES], _IMAGES)
"""Metrics of the report's tables: motion, then images."""
FACTS = {
    "lip_distance": "lips, % of eye distance:",
    "opening_correlation": "opening correlation",
    "lag": "lag",
    "deviation": "deviation",
    "psnr_face": "face PSNR",
    "ssim_face": "SSIM",
}
"""What stands above a clip's pictures."""
MAX_CLIPS = 24
_TEMPLATE = "report.html.j2"


def _columns(result: scores.Scores, wanted: Sequence[str]) -> list[str]:
    return [m for m in wanted if any(m in row.metrics for row in result.rows.values())]


def _range(name: str, interval: "Interval") -> str:
    low, high = scores.format_value(name, interval.low), scores.format_value(name, interval.high)
    return "" if low == high else f"[{low}, {high}]"


def table(result: scores.Scores) -> "Table":
    """The headline metrics for the terminal: value and interval by row, clips scored and failed."""
    from rich import box
    from rich.table import Table

    names = _columns(result, list(HEADLINE))
    view = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
        caption=_caption(result),
        caption_justify="left",
    )
    view.add_column("row", no_wrap=True)
    view.add_column("clips", justify="right")
    for name in names:
        view.add_column(HEADLINE[name], justify="right")
    for row, summary in result.rows.items():
        cells = [_cell(name, summary.metrics.get(name)) for name in names]
        clips = str(summary.clips)
        if summary.failed:
            clips = f"[red]{clips}/{summary.clips + summary.failed}[/]"
        view.add_row(row, clips, *cells)
    return view


def _cell(name: str, interval: "Interval | None") -> str:
    """Value, and beneath it the interval where it has a width; narrow, for 80 columns in all."""
    if interval is None:
        return ""
    digits = _SHORT_DIGITS.get(name)
    value, low, high = (
        scores.format_value(name, x, digits=digits)
        for x in (interval.value, interval.low, interval.high)
    )
    return value if low == high else f"{value}\n[dim]{low}–{high}[/]"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _caption(result: scores.Scores) -> str:
    ratios = [
        f"{scores.numerator(row)} / {row} {ratio.value:.2f} \\[{ratio.low:.2f}, {ratio.high:.2f}]"
        for row, ratio in result.ratios.items()
        if np.isfinite(ratio.value)
    ]
    lines = ["lip distance: " + ", ".join(ratios)] if ratios else []
    if result.failures:
        failed = len({failure.clip for failure in result.failures})
        names = "reasons in scores.json and report.html"
        lines.append(f"{counted(failed, 'clip')} failed in some row: {names}")
    return "\n".join([*lines, _escape(result.conventions["intervals"])])


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _svg_uri(svg: str) -> str:
    return _data_uri("svg+xml", svg.encode())


def _jpeg_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=88, subsampling=0)
    return _data_uri("jpeg", buffer.getvalue())


def _table(result: scores.Scores, wanted: Sequence[str]) -> dict[str, Any]:
    """Rows that have any of the wanted metrics, for the template."""
    names = _columns(result, wanted)
    lines = []
    for row, summary in result.rows.items():
        intervals = [summary.metrics.get(name) for name in names]
        if not any(intervals) and summary.clips:
            continue
        cells = [
            interval
            and {
                "value": scores.format_value(name, interval.value),
                "range": _range(name, interval),
            }
            for name, interval in zip(names, intervals, strict=True)
        ]
        lines.append({"name": row, "summary": summary, "cells": cells})
    return {"metrics": [scores.METRICS[name] for name in names], "lines": lines}


def _shown(result: scores.Scores) -> list[scores.ClipScore]:
    """Predicted clips from the worst lip distance to the best, thinned out to `MAX_CLIPS`."""
    clips = sorted(result.of_row(scores.MODEL), key=lambda clip: -clip.values["lip_distance"])
    if len(clips) <= MAX_CLIPS:
        return clips
    picks = np.linspace(0, len(clips) - 1, MAX_CLIPS).round().astype(int)
    return [clips[i] for i in picks]


def _failures(result: scores.Scores) -> list[tuple[str, str, str]]:
    """Clip, its rows, reason: rows of a clip that fail for one reason stand on one line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for failure in result.failures:
        grouped.setdefault((failure.clip, failure.reason), []).append(failure.row)
    return [(clip, ", ".join(names), reason) for (clip, reason), names in grouped.items()]


def _clip_view(
    clip: scores.ClipScore, truth: scores.ClipScore | None, strip: np.ndarray | None
) -> dict[str, Any]:
    facts = [
        f"{label} {scores.format_value(name, clip.values[name])}"
        for name, label in FACTS.items()
        if name in clip.values
    ]
    if clip.faceless:
        facts.append(f"{counted(clip.faceless, 'frame')} without a face")
    return {
        "name": clip.clip,
        "facts": "; ".join(facts),
        "curve": _svg_uri(plots.opening_plot(truth.opening, clip.opening)) if truth else "",
        "strip": "" if strip is None else _jpeg_uri(plots.strip(strip, ("prediction", "truth"))),
    }


def render(result: scores.Scores, *, strips: Mapping[str, np.ndarray] | None = None) -> str:
    """The report as one HTML text that loads nothing from anywhere.

    Args:
      result: what to show.
      strips: clip -> (2, k, h, w, 3) frames, prediction first, truth second.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    truths = {clip.clip: clip for clip in result.of_row(scores.GROUND_TRUTH)}
    shown = _shown(result)
    figures = [
        _svg_uri(plots.row_plot(result.rows, name))
        for name in _columns(result, ("lip_distance", "opening_correlation"))
    ]
    if figures:
        figures.append(_svg_uri(plots.lag_plot(result.rows)))
    return environment.get_template(_TEMPLATE).render(
        result=result,
        tables=[part for part in (_table(result, names) for names in TABLES) if part["metrics"]],
        about=scores.ROWS,
        ratios=[
            (
                f"{scores.numerator(row)} / {row}",
                f"{ratio.value:.2f}",
                f"[{ratio.low:.2f}, {ratio.high:.2f}]",
                ratio.n,
            )
            for row, ratio in result.ratios.items()
            if np.isfinite(ratio.value)
        ],
        figures=figures,
        clips=[_clip_view(c, truths.get(c.clip), (strips or {}).get(c.clip)) for c in shown],
        total=len(result.of_row(scores.MODEL)),
        failures=_failures(result),
    )


def write_report(
    result: scores.Scores,
    out: pathlib.Path,
    *,
    strips: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes `out`/scores.json and `out`/report.html: both, or none."""
    page = render(result, strips=strips)
    scores.write_files(out, {"scores.json": result.to_json(), "report.html": page})
