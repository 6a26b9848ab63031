"""The report on emotions as files: all numbers, and one self-contained page with tables and
figures."""

import base64
import pathlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from talkface_jax.capabilities import CLOSURES, OTHER_SPEECH, SAME_SPEECH
from talkface_jax.evaluate import emotion_clip, emotions, plots, scores
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.emotion_cases import LEVELS, NEUTRAL, NEUTRAL_LEVEL, TOP
from talkface_jax.landmarks import schemes
from talkface_jax.records import FPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JSON, PAGE = "emotions.json", "emotions.html"
_TEMPLATE = "emotions.html.j2"
_COLOURS = dict(zip(emotions.EMOTIONAL, (*plots.PALETTE, "#7f3b08"), strict=True)) | {
    NEUTRAL: plots.TRUTH
}
_WIDTH, _HEIGHT = 1.9, 2.1
"""Of a face in the figure, in eye distances."""


def write_report(report: emotions.EmotionReport, out: pathlib.Path) -> None:
    """Writes `out`/emotions.json and `out`/emotions.html: both, or none."""
    scores.write_files(out, {JSON: report.to_json(), PAGE: render(report)})


def render(report: emotions.EmotionReport) -> str:
    """HTML that loads nothing from anywhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {
        f"Mouth opening of {report.example.clip} in every emotion": openings(report.example),
        "Displacement from neutral by level": displacements(report),
        f"A frame of {report.example.clip} in every emotion and level": faces(report.example),
    }
    return environment.get_template(_TEMPLATE).render(
        report=report,
        about=emotion_clip.ROWS,
        metrics=emotion_clip.METRICS,
        face=emotion_clip.FACE_DISTANCE,
        wanted={"same": SAME_SPEECH, "closures": CLOSURES, "other": OTHER_SPEECH},
        levels=[str(level) for level in LEVELS],
        top=str(TOP),
        number=_number,
        interval=_interval,
        figures={
            title: base64.b64encode(figure.encode()).decode() for title, figure in figures.items()
        },
    )


def openings(example: emotion_clip.Example) -> str:
    """SVG: opening of the mouth over time in each emotion; gaps where there is no face."""

    def draw(axes: "Axes") -> None:
        for name in _in_order(example.openings):
            values = np.asarray(example.openings[name], float)
            width = 2.0 if name == NEUTRAL else 1.2
            seconds = np.arange(len(values)) / FPS
            axes.plot(seconds, 100 * values, color=_COLOURS[name], linewidth=width, label=name)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("time, s")
        axes.set_ylabel("mouth opening,\n% of eye distance")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return plots.svg(draw, width=9.0, height=2.6)


def displacements(report: emotions.EmotionReport) -> str:
    """SVG: how far each emotion moves the face at each level, a line each."""

    def draw(axes: "Axes") -> None:
        for name in emotions.EMOTIONAL:
            moved = report.effects[name].displacement
            found = [moved[str(level)] for level in LEVELS]
            spread = [
                [item.value - item.low for item in found],
                [item.high - item.value for item in found],
            ]
            axes.errorbar(
                [0, *LEVELS],
                [0.0, *(item.value for item in found)],
                yerr=np.pad(np.abs(spread), ((0, 0), (1, 0))),
                color=_COLOURS[name],
                linewidth=1.4,
                capsize=2,
                label=name,
            )
        axes.axvspan(TOP, LEVELS[-1], color="#f3f4f6", zorder=0)
        axes.set_xticks([0, *LEVELS])
        axes.set_xlabel(f"level (beyond {TOP}: not in the data)")
        axes.set_ylabel("displacement,\n% of eye distance")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return plots.svg(draw, width=6.2, height=3.0)


def faces(example: emotion_clip.Example) -> str:
    """SVG: wireframes, a column for each emotion and a row for each level of the data."""
    from matplotlib.collections import LineCollection

    edges = schemes.get_scheme(example.scheme).edges
    names = _in_order(example.faces)

    def draw(axes: "Axes") -> None:
        for column, name in enumerate(names):
            for row in range(TOP):
                level = NEUTRAL_LEVEL if name == NEUTRAL else row + 1
                shape = np.asarray(example.faces[name][str(level)])
                shape = shape + np.array([_WIDTH * column, _HEIGHT * row])
                lines = LineCollection(list(shape[edges]), colors=_COLOURS[name], linewidths=0.8)
                axes.add_collection(lines)
        axes.autoscale_view()
        axes.set_aspect("equal")
        axes.set_xticks([_WIDTH * column for column in range(len(names))], names)
        axes.set_yticks(
            [_HEIGHT * row for row in range(TOP)], [str(level) for level in LEVELS[:TOP]]
        )
        axes.set_ylabel("level")
        axes.invert_yaxis()

    return plots.svg(draw, width=11.0, height=4.6)


def _in_order(names: Collection[str]) -> list[str]:
    """Neutral first, then the others as everywhere."""

    return [name for name in (NEUTRAL, *emotions.EMOTIONAL) if name in names]


def _number(value: float, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _interval(value: Interval, digits: int = 2) -> str:
    """Its ends, or nothing."""
    if not np.isfinite([value.low, value.high]).all():
        return ""
    return f"[{_number(value.low, digits)}, {_number(value.high, digits)}]"
