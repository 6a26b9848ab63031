"""The report on blinks as files: all numbers, and one self-contained page with table, verdicts and
figures."""

import base64
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from talkface_jax.capabilities import BLINK_DURATIONS, BLINK_RATES, BLINK_VARIATION
from talkface_jax.evaluate import blinks, plots, scores
from talkface_jax.records import FPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEMPLATE = "blinks.html.j2"
_COLOURS = {blinks.REAL: "#1f2937", blinks.MODEL: "#c2410c", blinks.CONSTANT: "#0e7490"}


def write_report(report: blinks.BlinkReport, out: pathlib.Path) -> None:
    """Writes `out`/blinks.json and `out`/blinks.html: both, or none."""
    scores.write_files(out, {"blinks.json": report.to_json(), "blinks.html": render(report)})


def render(report: blinks.BlinkReport) -> str:
    """HTML that loads nothing from anywhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [
        histogram(report, "interval", "interval from start to start, s"),
        histogram(report, "duration", "duration, s"),
        histogram(report, "count", "blinks a clip"),
        example_tracks(report),
    ]
    return environment.get_template(_TEMPLATE).render(
        report=report,
        about=blinks.ROWS,
        ranges={
            "rate": BLINK_RATES,
            "duration": BLINK_DURATIONS,
            "variation": BLINK_VARIATION,
        },
        near=blinks.NEAR,
        draws=list(zip(report.draws[blinks.MODEL], report.draws[blinks.CONSTANT], strict=True)),
        number=_number,
        figures=[base64.b64encode(figure.encode()).decode() for figure in figures],
    )


def histogram(report: blinks.BlinkReport, kind: str, label: str) -> str:
    """SVG: the distribution of one quantity in every row, as shares of the row's values."""
    everything = [x for values in report.values.values() for x in values[kind]]
    low, high = (min(everything), max(everything)) if everything else (0.0, 1.0)
    whole = kind == "count"
    edges = np.arange(low - 0.5, high + 1) if whole else np.linspace(low, high + 1e-3, 25)

    def draw(axes: "Axes") -> None:
        for name, values in report.values.items():
            numbers = values[kind]
            weights = np.full(len(numbers), 1 / max(len(numbers), 1))
            axes.hist(
                numbers,
                bins=edges.tolist(),
                weights=weights,
                histtype="step",
                linewidth=1.8,
                color=_COLOURS[name],
                label=f"{name} ({len(numbers)})",
            )
        axes.set_xlabel(label)
        axes.set_ylabel("share")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return plots.svg(draw, width=5.4, height=2.2)


def example_tracks(report: blinks.BlinkReport) -> str:
    """SVG: closure over time of a few clips of every row, one above the other."""

    def draw(axes: "Axes") -> None:
        level = 0.0
        for name, curves in report.examples.items():
            for number, curve in enumerate(curves):
                seconds = np.arange(len(curve)) / FPS
                label = name if number == 0 else None
                values = np.asarray(curve) - level
                axes.plot(seconds, values, color=_COLOURS[name], linewidth=1.2, label=label)
                level += 1.6
        axes.set_yticks([])
        axes.set_xlabel("time, s")
        axes.set_ylabel("closure")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    rows = sum(map(len, report.examples.values()))
    return plots.svg(draw, width=9.0, height=0.35 * rows + 0.8)


def _number(value: Any, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"
