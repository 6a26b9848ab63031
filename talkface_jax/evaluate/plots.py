"""Figures of a report as SVG: curves and row comparisons, one look for every row."""

import dataclasses
import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from talkface_jax.evaluate import scores
from talkface_jax.evaluate.columns import METRICS
from talkface_jax.metrics import sync
from talkface_jax.records import FPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of the systems, in their order: colour-blind eyes tell them apart (Okabe and Ito 2008)."""
TRUTH = "#1f2937"
_OTHER = "#9ca3af"
_GREY = "#6b7280"
_DASHES = ("--", ":", "-.", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LONGEST = 24
"""Characters of a name in a figure, which has one width for all."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How a row is drawn: colour, matplotlib's line style, line width in points."""

    colour: str
    dash: Any = "-"
    width: float = 1.4


def styles(rows: Iterable[str], *, systems: Sequence[str]) -> dict[str, Style]:
    """A style for every row: systems in colours, the truth nearly black, the others grey dashes.

    A system's colour depends on its place among the systems only; past six the lines are dashed.
    """
    found = {scores.GROUND_TRUTH: Style(TRUTH)}
    for place, name in enumerate(systems):
        turn, colour = divmod(place, len(PALETTE))
        found[name] = Style(PALETTE[colour], ("-", *_DASHES)[turn % (1 + len(_DASHES))], 2.0)
    greys = 0
    for name in rows:
        if name not in found:
            found[name] = Style(_GREY, _DASHES[greys % len(_DASHES)])
            greys += 1
    return found


def printable(text: str) -> str:
    """A name that any page, figure or terminal can show: what cannot be printed is replaced.

    Names come from files and flags: control characters are no XML, half a surrogate pair is no
    UTF-8, and marks of writing direction turn the rest of a line around.
    """
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else "\ufffd" for c in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """A printable name of at most so many characters; one that is longer loses its middle."""
    text = printable(text)
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def svg(draw: Callable[["Axes"], Any], *, width: float, height: float) -> str:
    """One axes drawn without pyplot's global state; text stays text, ids are reproducible."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "talkface",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _OTHER,
        "text.parse_math": False,  # a name may hold dollars
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The browser's fonts show the text; those here only measure it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def row_plot(
    summaries: Mapping[str, scores.RowSummary], metric: str, *, looks: Mapping[str, Style]
) -> str:
    """SVG: one metric of every row that has it, a dot and its interval each."""
    info = METRICS[metric]
    names = [
        name
        for name, row in summaries.items()
        if metric in row.metrics and np.isfinite(row.metrics[metric].value)
    ]

    def draw(axes: "Axes") -> None:
        for y, name in enumerate(names):
            interval, colour = summaries[name].metrics[metric], looks[name].colour
            axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=2.5)
            axes.plot([interval.value], [y], "o", color=colour, markersize=7)
        axes.set_yticks(range(len(names)), [shortened(name) for name in names])
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        if info.unit != "dB":  # which have no zero
            axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_xlabel(f"{info.label}{f', {info.unit}' if info.unit else ''}")
        axes.grid(axis="x", color="#e5e7eb")
        axes.set_axisbelow(True)

    return svg(draw, width=5.2, height=0.32 * len(names) + 0.7)


def lag_plot(summaries: Mapping[str, scores.RowSummary], *, looks: Mapping[str, Style]) -> str:
    """SVG: cross-correlation of mouth opening with the truth, averaged over clips, by row."""
    hidden = (scores.NOISE_FLOOR,)

    def draw(axes: "Axes") -> None:
        lines, names = [], []
        for name, row in summaries.items():
            if name in hidden or not len(row.lag_curve):
                continue
            lags = np.arange(len(row.lag_curve)) - len(row.lag_curve) // 2
            lines += axes.plot(lags, row.lag_curve, **_line(looks[name]))
            names.append(shortened(name))
        axes.axvline(0, color="#d1d5db", linewidth=1, zorder=0)
        axes.set_xlim(-sync.MAX_LAG, sync.MAX_LAG)
        axes.set_xticks(range(-sync.MAX_LAG, sync.MAX_LAG + 1, 2))
        axes.set_xlabel("prediction late by, frames (40 ms)")
        axes.set_ylabel("correlation")
        if lines:
            # Given outright: labels of the lines themselves may not begin with "_".
            axes.legend(
                lines, names, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1)
            )

    return svg(draw, width=5.8, height=2.6)


def opening_plot(curves: Mapping[str, np.ndarray], *, looks: Mapping[str, Style]) -> str:
    """SVG: mouth opening of one clip over time by row; gaps where there is no face.

    The rows are told apart by their looks; there is no legend in the picture.
    """

    def draw(axes: "Axes") -> None:
        for name, values in curves.items():
            seconds = np.arange(len(values)) / FPS
            axes.plot(seconds, 100 * np.asarray(values), **_line(looks[name]))
        axes.set_xlim(0, max(2, *(len(values) for values in curves.values())) / FPS)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time, s")
        axes.set_ylabel("mouth opening,\n% of eye distance")

    return svg(draw, width=9.0, height=2.1)


def _line(look: Style) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.dash, "linewidth": look.width}
