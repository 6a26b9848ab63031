"""Pictures of a report: curves and row comparisons as SVG, frame strips as images."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from talkface_jax.evaluate import scores
from talkface_jax.metrics import sync
from talkface_jax.records import FPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    scores.MODEL: "#c2410c",
    scores.GROUND_TRUTH: "#1f2937",
    scores.NOISE_FLOOR: "#6b7280",
    scores.STATIC_MOUTH: "#0e7490",
    scores.SHIFTED_AUDIO: "#7c3aed",
    scores.MISMATCHED: "#be185d",
    scores.SILENCE: "#4d7c0f",
    scores.RIDGE: "#b45309",
}
_OTHER = "#9ca3af"
_GAP = 4
_PAPER = (255, 255, 255)
_INK = (31, 41, 55)


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
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def row_plot(summaries: Mapping[str, scores.RowSummary], metric: str) -> str:
    """SVG: one metric of every row that has it, a dot and its interval each."""
    info = scores.METRICS[metric]
    names = [name for name, row in summaries.items() if metric in row.metrics]

    def draw(axes: "Axes") -> None:
        for y, name in enumerate(names):
            interval = summaries[name].metrics[metric]
            colour = COLOURS.get(name, _OTHER)
            axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=2.5)
            axes.plot([interval.value], [y], "o", color=colour, markersize=7)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_xlabel(f"{info.label}{f', {info.unit}' if info.unit else ''}")
        axes.grid(axis="x", color="#e5e7eb")
        axes.set_axisbelow(True)

    return svg(draw, width=5.2, height=0.32 * len(names) + 0.7)


def lag_plot(summaries: Mapping[str, scores.RowSummary]) -> str:
    """SVG: cross-correlation of mouth opening with the truth, averaged over clips, by row."""
    hidden = (scores.NOISE_FLOOR,)

    def draw(axes: "Axes") -> None:
        for name, row in summaries.items():
            if name in hidden or not len(row.lag_curve):
                continue
            lags = np.arange(len(row.lag_curve)) - len(row.lag_curve) // 2
            width = 2.4 if name == scores.MODEL else 1.4
            colour = COLOURS.get(name, _OTHER)
            axes.plot(lags, row.lag_curve, label=name, color=colour, linewidth=width)
        axes.axvline(0, color="#d1d5db", linewidth=1, zorder=0)
        axes.set_xlim(-sync.MAX_LAG, sync.MAX_LAG)
        axes.set_xticks(range(-sync.MAX_LAG, sync.MAX_LAG + 1, 2))
        axes.set_xlabel("prediction late by, frames (40 ms)")
        axes.set_ylabel("correlation")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, width=5.8, height=2.4)


def opening_plot(truth: np.ndarray, pred: np.ndarray) -> str:
    """SVG: true and predicted mouth opening of one clip over time; gaps where there is no face."""

    def draw(axes: "Axes") -> None:
        for values, name, width in (
            (truth, scores.GROUND_TRUTH, 1.3),
            (pred, scores.MODEL, 1.8),
        ):
            seconds = np.arange(len(values)) / FPS
            label = "truth" if name == scores.GROUND_TRUTH else "prediction"
            axes.plot(seconds, 100 * values, color=COLOURS[name], linewidth=width, label=label)
        axes.set_xlim(0, max(len(truth), len(pred), 2) / FPS)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time, s")
        axes.set_ylabel("opening, %")
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))

    return svg(draw, width=9.0, height=1.9)


def strip(
    frames: Sequence[Sequence[UInt8[np.ndarray, "h w 3"]]] | UInt8[np.ndarray, "rows k h w 3"],
    labels: Sequence[str],
) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of frames, one above the other, each row's label at its left.

    Args:
      frames: (rows, k) frames of one size; all rows have the same number of frames.
      labels: one text a row.

    Raises:
      ValueError: rows of different lengths or frames of different sizes, or a label too few.
    """
    from PIL import Image, ImageDraw, ImageFont

    sizes = {frame.shape for row in frames for frame in row}
    counts = {len(row) for row in frames}
    if len(sizes) != 1 or len(counts) != 1 or len(labels) != len(frames):
        raise ValueError(f"frames of sizes {sizes} in rows of {counts} for {len(labels)} labels")
    (height, width, _), count = sizes.pop(), counts.pop()
    font = ImageFont.load_default(size=max(11, height // 12))
    margin = int(max(font.getlength(label) for label in labels)) + 4 * _GAP
    canvas = Image.new(
        "RGB",
        (margin + count * (width + _GAP), len(frames) * (height + _GAP) + _GAP),
        _PAPER,
    )
    pen = ImageDraw.Draw(canvas)
    for r, (row, label) in enumerate(zip(frames, labels, strict=True)):
        top = _GAP + r * (height + _GAP)
        pen.text((margin - 2 * _GAP, top + height / 2), label, fill=_INK, font=font, anchor="rm")
        for c, frame in enumerate(row):
            canvas.paste(Image.fromarray(frame), (margin + c * (width + _GAP), top))
    return np.asarray(canvas)
