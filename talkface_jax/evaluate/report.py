"""Scores for people: a table for the terminal, and one self-contained report.html."""

import pathlib
from collections.abc import Mapping
from typing import Any

from talkface_jax.errors import counted
from talkface_jax.evaluate import lost, page, plots, scores
from talkface_jax.evaluate import pictures as drawn
from talkface_jax.evaluate.pictures import ClipPictures
from talkface_jax.evaluate.terminal import table

__all__ = ["render", "table", "write_report"]

FIGURES = ("lip_distance", "opening_correlation", "psnr_mouth", "lpips_mouth")
"""Metrics that are drawn row by row."""
_TEMPLATE = "report.html.j2"


def _figures(result: scores.Scores, looks: Mapping[str, plots.Style]) -> list[str]:
    """Rows compared, as images; the truth against itself is no news and would set the scale."""
    rows = {name: row for name, row in result.rows.items() if name != scores.GROUND_TRUTH}
    figures = [
        plots.row_plot(rows, metric, looks=looks)
        for metric in FIGURES
        if any(metric in row.metrics for row in rows.values())
    ]
    if figures:
        figures.append(plots.lag_plot(rows, looks=looks))
    return [page.svg_uri(figure) for figure in figures]


def _printable(value: Any) -> Any:
    """Every text that the template prints; what it has made of such texts already stays."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "\n".join(plots.printable(line) for line in value.split("\n"))


def render(result: scores.Scores, *, pictures: Mapping[str, ClipPictures] | None = None) -> str:
    """The report as one HTML text that loads nothing from anywhere.

    Args:
      result: what to show.
      pictures: by clip; rows are the truth's and the systems'.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = page.shown_clips(result)[1]
    looks = plots.styles(result.rows, systems=result.systems)
    return environment.get_template(_TEMPLATE).render(
        result=result,
        truth=scores.GROUND_TRUTH,
        colours={name: look.colour for name, look in looks.items()},
        tables=page.result_tables(result),
        about={
            row: scores.ROWS.get(row, "a system's predictions")
            for row in result.rows
            if row in scores.ROWS or row in result.systems
        },
        comparisons=page.comparison_tables(result),
        groups=page.group_tables(result),
        figures=_figures(result, looks),
        clips=page.clip_views(result, pictures=pictures or {}, looks=looks),
        total=total,
        predicted=counted(total, "clip"),
        failed=counted(len(result.failures), "failure"),
        failures=page.failures(result),
        lost_rule=lost.CONVENTION,
        slice_rule=drawn.CONVENTION,
    )


def write_report(
    result: scores.Scores,
    out: pathlib.Path,
    *,
    pictures: Mapping[str, ClipPictures] | None = None,
) -> None:
    """Writes `out`/scores.json and `out`/report.html: both, or none."""
    text = render(result, pictures=pictures)
    scores.write_files(out, {"scores.json": result.to_json(), "report.html": text})
