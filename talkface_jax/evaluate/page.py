"""What report.html shows, ready for its template: tables as lines of text, clips in their order."""

import base64
import functools
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.errors import counted
from talkface_jax.evaluate import plots, scores
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.columns import JUDGED, METRICS, format_value
from talkface_jax.evaluate.pictures import ClipPictures
from talkface_jax.evaluate.scores import ClipScore, Scores
from talkface_jax.records import FPS

_IMAGES = tuple(name for name in METRICS if name.split("_")[0] in ("psnr", "ssim", "lpips"))
_EXPRESSION = tuple(
    name
    for name in METRICS
    if name in ("emotion_accuracy", "closures") or name.split("_")[0].endswith(("ld", "lvd"))
)
_DESCRIBED = tuple(name for name, info in METRICS.items() if not info.better)
TABLES: Mapping[str, Sequence[str]] = {
    "Motion": tuple(name for name in METRICS if name not in _IMAGES + _EXPRESSION + _DESCRIBED),
    "Images": _IMAGES,
    "Emotion": _EXPRESSION,
    "Behaviour": _DESCRIBED,
}
"""Metrics of the tables of results; behaviour is read against the truth's row."""
FACTS = {
    "lip_distance": "lips, %",
    "lip_distance_aligned": "aligned",
    "opening_correlation": "opening correlation",
    "lag": "lag, frames",
    "deviation": "deviation",
    "psnr_mouth": "PSNR mouth, dB",
    "lpips_mouth": "LPIPS mouth",
}
"""Numbers beside a clip's pictures."""
MAX_CLIPS = 24
_MAX_STRIPS = 48
"""Rows of frames in all: more systems, fewer clips, so that a page can be sent to somebody."""


def data_uri(kind: str, data: bytes) -> str:
    """An image that an <img> holds in itself."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def svg_uri(svg: str) -> str:
    """A figure of `plots` for an <img>."""
    return data_uri("svg+xml", svg.encode())


def _present(found: Iterable[Mapping[str, Any]], wanted: Iterable[str]) -> list[str]:
    """Metrics that any of the mappings has, in the order wanted."""
    known = {name for mapping in found for name in mapping}
    return [name for name in wanted if name in known]


def _range(name: str, interval: Interval) -> str:
    low, high = format_value(name, interval.low), format_value(name, interval.high)
    return "" if low == high or not math.isfinite(interval.low) else f"[{low}, {high}]"


def _number(name: str, interval: Interval | None) -> dict[str, str] | None:
    if interval is None:
        return None
    return {"value": format_value(name, interval.value), "range": _range(name, interval)}


def result_tables(result: Scores) -> list[dict[str, Any]]:
    """A table of rows by metrics for each part of `TABLES` of which there is anything.

    The first has all rows, and their counts.
    """
    tables = []
    for title, wanted in TABLES.items():
        names = _present((row.metrics for row in result.rows.values()), wanted)
        lines = [
            {
                "name": row,
                "summary": summary,
                "cells": [_number(name, summary.metrics.get(name)) for name in names],
            }
            for row, summary in result.rows.items()
            if not tables or any(name in summary.metrics for name in names)
        ]
        if names:
            heads = [METRICS[name] for name in names]
            tables.append({"title": title, "metrics": heads, "lines": lines, "counts": not tables})
    return tables


def comparison_tables(result: Scores) -> list[dict[str, Any]]:
    """For each row that is compared, its ratios and differences over every other row.

    A ratio is shown only of distances: that of decibels or correlations means nothing.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    names = _present(result.comparisons.values(), JUDGED)
    for (row, over), found in result.comparisons.items():
        cells = [_compared(name, found[name]) if name in found else None for name in names]
        clips = max((item.difference.n for item in found.values()), default=0)
        tables.setdefault(row, []).append({"name": over, "clips": clips, "cells": cells})
    heads = [METRICS[name] for name in names]
    return [{"name": row, "metrics": heads, "lines": lines} for row, lines in tables.items()]


def _compared(name: str, found: scores.Comparison) -> dict[str, Any]:
    """The ratio, of a distance, and the difference: each with its interval and mark, or None."""
    distance = METRICS[name].better == "lower"
    return {
        "ratio": _side(name, found.ratio, neutral=1.0, shown="{:.2f}".format) if distance else None,
        "difference": _side(
            name, found.difference, neutral=0.0, shown=functools.partial(_signed, name)
        ),
    }


def _side(
    name: str, interval: Interval, *, neutral: float, shown: Callable[[float], str]
) -> dict[str, str] | None:
    """A number with its interval; "better" or "worse" where all of that lies on one side."""
    if not math.isfinite(interval.value):
        return None
    low, high, mark = interval.low, interval.high, ""
    if low > neutral or high < neutral:
        mark = "better" if (low > neutral) == (METRICS[name].better == "higher") else "worse"
    wide = math.isfinite(low) and low != high
    bounds = f"[{shown(low)}, {shown(high)}]" if wide else ""
    return {"value": shown(interval.value), "range": bounds, "mark": mark}


def _signed(name: str, value: float) -> str:
    text = format_value(name, value)
    return f"+{text}" if value > 0 else text.replace("-", "\N{MINUS SIGN}")


def group_tables(result: Scores) -> list[dict[str, Any]]:
    """By column of the metadata: every system's groups, and its gap from the best to the worst."""
    columns: dict[str, list[scores.GroupTable]] = {}
    for group in result.groups:
        columns.setdefault(group.column, []).append(group)
    tables = []
    for column, found in columns.items():
        names = _present((m for group in found for m in group.values.values()), JUDGED)
        parts = [
            {
                "name": group.row,
                "lines": [
                    {
                        "value": value,
                        "clips": max((item.n for item in numbers.values()), default=0),
                        "cells": [_number(name, numbers.get(name)) for name in names],
                    }
                    for value, numbers in group.values.items()
                ],
                "gaps": [_gap(name, group) for name in names],
            }
            for group in found
        ]
        heads = [METRICS[name] for name in names]
        tables.append({"column": column, "metrics": heads, "parts": parts})
    return tables


def _gap(name: str, group: scores.GroupTable) -> dict[str, str] | None:
    """The gap, and which groups are its ends."""
    if name not in group.gaps:
        return None
    known = {
        value: numbers[name].value
        for value, numbers in group.values.items()
        if name in numbers and math.isfinite(numbers[name].value)
    }
    ends = sorted(known, key=known.__getitem__, reverse=METRICS[name].better == "higher")
    return {"value": format_value(name, group.gaps[name]), "best": ends[0], "worst": ends[-1]}


def failures(result: Scores) -> list[tuple[str, list[str], str]]:
    """Clip, its rows, reason: rows of a clip that fail for one reason stand on one line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for failure in result.failures:
        grouped.setdefault((failure.clip, failure.reason), []).append(failure.row)
    return [(clip, names, reason) for (clip, reason), names in grouped.items()]


def shown_clips(result: Scores) -> tuple[list[str], int]:
    """Clips with a prediction from the first system's worst lip distance to its best, and how many.

    A clip that the first system lacks comes after its own, in the order of the next system that has
    it. What is too much for a page is thinned out evenly; the first and the last stay.
    """
    order: dict[str, tuple[int, float]] = {}
    for place, system in enumerate(result.systems):
        for clip in result.of_row(system):
            distance = clip.values.get("lip_distance", math.nan)
            worst = -distance if math.isfinite(distance) else -math.inf
            order.setdefault(clip.clip, (place, worst))
    names = sorted(order, key=lambda name: (*order[name], name))
    most = max(2, min(MAX_CLIPS, _MAX_STRIPS // (1 + len(result.systems))))
    if len(names) <= most:
        return names, len(names)
    picks = np.linspace(0, len(names) - 1, most).round().astype(int)
    return [names[i] for i in picks], len(names)


def clip_views(
    result: Scores,
    *,
    pictures: Mapping[str, ClipPictures],
    looks: Mapping[str, plots.Style],
) -> list[dict[str, Any]]:
    """The clips of the page: numbers of all systems, frames, mouth curves and slices."""
    by_clip: dict[str, dict[str, ClipScore]] = {}
    for clip in result.clips:
        by_clip.setdefault(clip.clip, {})[clip.row] = clip
    failed: dict[str, dict[str, str]] = {}
    for failure in result.failures:
        failed.setdefault(failure.clip, {})[failure.row] = failure.reason
    return [
        {
            "name": name,
            **_facts(by_clip[name], systems=result.systems, failed=failed.get(name, {})),
            "curve": _curves(by_clip[name], systems=result.systems, looks=looks),
            **_pictures(pictures.get(name), systems=result.systems),
        }
        for name in shown_clips(result)[0]
    ]


def _facts(
    rows: Mapping[str, ClipScore], *, systems: Sequence[str], failed: Mapping[str, str]
) -> dict[str, Any]:
    ours = {name: rows[name] for name in systems if name in rows}
    names = _present((clip.values for clip in ours.values()), FACTS)
    lines = []
    for name in systems:
        if name in ours:
            clip = ours[name]
            cells = [format_value(m, clip.values.get(m, math.nan)) for m in names]
            lines.append({"name": name, "cells": [*cells, str(clip.lost)], "reason": ""})
        elif name in failed:
            lines.append({"name": name, "cells": [], "reason": failed[name]})
    some = next(iter(ours.values()))
    about = [some.speaker] if some.speaker else []
    about += [f"{column} {value}" for column, value in some.groups.items() if value]
    about.append(counted(some.frames, "frame"))
    if some.faceless:
        about.append(f"{some.faceless} more without a face in the truth")
    notes = [(name, note) for name, clip in rows.items() for note in clip.notes]
    heads = [*(FACTS[name] for name in names), "lost, frames"]
    return {"about": about, "heads": heads, "lines": lines, "notes": notes}


def _curves(
    rows: Mapping[str, ClipScore], *, systems: Sequence[str], looks: Mapping[str, plots.Style]
) -> dict[str, Any]:
    """The figure, and whose curves it holds."""
    names = [name for name in (scores.GROUND_TRUTH, *systems) if name in rows]
    figure = plots.opening_plot({name: rows[name].opening for name in names}, looks=looks)
    return {"image": svg_uri(figure), "rows": names}


def _pictures(found: ClipPictures | None, *, systems: Sequence[str]) -> dict[str, Any]:
    """Frames and slices, the truth's first; slices as wide as their share of the longest."""
    if found is None:
        return {"times": [], "strips": [], "slices": []}
    first = (scores.GROUND_TRUTH, *systems)
    rows = [*first, *(row for row in (*found.strips, *found.slices) if row not in first)]
    rows = list(dict.fromkeys(rows))
    widths = {row: _width(data) for row, data in found.slices.items()}
    longest = max(widths.values(), default=1)
    return {
        "times": [f"{index / FPS:.2f} s" for index in found.instants],
        "strips": [
            {"name": row, "images": [data_uri("jpeg", data) for data in found.strips[row]]}
            for row in rows
            if row in found.strips
        ],
        "slices": [
            {
                "name": row,
                "image": data_uri("jpeg", found.slices[row]),
                "share": round(100 * widths[row] / longest, 2),
                "pixels": widths[row],
            }
            for row in rows
            if row in found.slices
        ],
    }


def _width(jpeg: bytes) -> int:
    from PIL import Image

    with Image.open(io.BytesIO(jpeg)) as image:
        return image.width
