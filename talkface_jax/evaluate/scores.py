"""What an evaluation yields: numbers by clip and by row, and failures; written as scores.json.

Schema of scores.json (version 1; NaN is written as null):

    {"schema": 1, "kind": "benchmark" | "motion",
     "rows": {ROW: {"clips": n, "failed": n, "frames": n, "faceless": n,
                    "metrics": {METRIC: {"value", "low", "high", "n"}},
                    "lag_curve": [correlation at lag -10 ... 10, averaged over clips]}},
     "ratios": {"model / ROW": {METRIC: {"value", "low", "high", "n"}}},
     "clips": [{"clip", "row", "frames", "faceless", "values": {METRIC: x}, "lag_curve",
                "opening": [mouth opening of every frame, null without a face],
                "speaker", "groups": {NAME: value}}],
     "failures": [{"clip", "row", "reason"}],
     "metrics": {METRIC: {"label", "unit", "better"}},
     "conventions": {topic: text}, "run": {topic: text}}
"""

import contextlib
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax import runtime
from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import bootstrap
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.metrics import sync

SCHEMA = 1

MODEL = "model"
GROUND_TRUTH = "ground-truth"
NOISE_FLOOR = "tracker-noise"
STATIC_MOUTH = "static-mouth"
SHIFTED_AUDIO = "shifted-audio"
MISMATCHED = "mismatched"
SILENCE = "silence"
RIDGE = "ridge"
MODEL_OTHER_HALF = "model-other-half"
STATIC_OTHER_HALF = "static-other-half"
ROWS = {
    MODEL: "the prediction",
    GROUND_TRUTH: "the truth against itself: what a perfect prediction scores",
    NOISE_FLOOR: "the truth, jittered and tracked again: differences below this mean nothing",
    STATIC_MOUTH: "a mouth that never moves: mean reference, affinely aligned to each frame",
    SHIFTED_AUDIO: "the prediction for audio that is 10 frames (0.4 s) ahead",
    MISMATCHED: "the prediction for another speaker's sentence: a correlation is the face's leak",
    SILENCE: "the same model fed silence: the mouth that it makes without sound",
    RIDGE: "ridge regression from log-mel, fitted on the training split: what a linear map reaches",
    MODEL_OTHER_HALF: "the prediction with references from the clip's other half only",
    STATIC_OTHER_HALF: "static-mouth with references from the clip's other half only",
}
"""The rows of every table, in this order; further rows follow by name."""
BASELINES = (STATIC_MOUTH, SHIFTED_AUDIO, MISMATCHED, SILENCE, RIDGE, STATIC_OTHER_HALF)
"""Rows that the model's lip distance is divided by."""
NUMERATORS = {STATIC_OTHER_HALF: MODEL_OTHER_HALF}
"""What stands over a baseline in the place of the model: only the same references compare."""


@dataclasses.dataclass(frozen=True)
class MetricInfo:
    """How a metric is shown; `better` is "lower", "higher", or the ideal value as text."""

    label: str
    unit: str
    better: str
    digits: int
    statistic: bootstrap.Statistic = bootstrap.mean


METRICS: Mapping[str, MetricInfo] = {
    "lip_distance": MetricInfo("Lips (40 points)", "% of eye distance", "lower", 2),
    "jaw_distance": MetricInfo("Jaw (17 points)", "% of eye distance", "lower", 2),
    "face_distance": MetricInfo("Face (131 points)", "% of eye distance", "lower", 2),
    "opening_correlation": MetricInfo("Opening correlation", "", "higher", 2),
    "lag": MetricInfo("Lag", "frames", "0", 0),
    "deviation": MetricInfo("Opening deviation", "pred / true", "1", 2, bootstrap.median),
    "psnr_face": MetricInfo("PSNR, face", "dB", "higher", 2),
    "ssim_face": MetricInfo("SSIM, face", "", "higher", 3),
    "psnr_mouth": MetricInfo("PSNR, mouth", "dB", "higher", 2),
    "ssim_mouth": MetricInfo("SSIM, mouth", "", "higher", 3),
}


@dataclasses.dataclass(frozen=True)
class ClipScore:
    """One clip in one row.

    Attributes:
      frames: frames compared (both have a face); faceless: frames of the clip left out for want of
        one.
      values: metric -> number; a metric that the row does not have (images of a landmark-only row)
        is absent.
      lag_curve: `metrics.sync.lag_curve`.
      opening: mouth opening of every frame, NaN where there is no face.
      speaker: who speaks; "" where unknown.
      groups: what else is known of the clip, by name (emotion, level, view).
    """

    clip: str
    row: str
    frames: int
    faceless: int
    values: Mapping[str, float]
    lag_curve: np.ndarray
    opening: np.ndarray
    speaker: str = ""
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A clip that could not be scored in a row, and why."""

    clip: str
    row: str
    reason: str


@dataclasses.dataclass(frozen=True)
class RowSummary:
    """A line of the table. `clips` were scored and `failed` were not; `lag_curve` is averaged."""

    clips: int
    failed: int
    frames: int
    faceless: int
    metrics: Mapping[str, Interval]
    lag_curve: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scores:
    """Everything an evaluation found; `rows` is in table order.

    `ratios` holds paired ratios of the lip distance of `numerator(row)` to that of each baseline
    row, over the clips that both have.
    """

    kind: str
    rows: Mapping[str, RowSummary]
    ratios: Mapping[str, Interval]
    clips: Sequence[ClipScore]
    failures: Sequence[Failure]
    conventions: Mapping[str, str]
    run: Mapping[str, str]

    def of_row(self, row: str) -> list[ClipScore]:
        """The clips of one row."""
        return [clip for clip in self.clips if clip.row == row]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that the module's docstring describes."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "rows": {name: _plain(summary) for name, summary in self.rows.items()},
            "ratios": {
                f"{numerator(row)} / {row}": {"lip_distance": _plain(ratio)}
                for row, ratio in self.ratios.items()
            },
            "clips": [_plain(clip) for clip in self.clips],
            "failures": [_plain(failure) for failure in self.failures],
            "metrics": {
                name: {"label": info.label, "unit": info.unit, "better": info.better}
                for name, info in METRICS.items()
            },
            "conventions": dict(self.conventions),
            "run": dict(self.run),
        }

    def to_json(self) -> str:
        """The text of scores.json."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(float(item)) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def write_files(folder: pathlib.Path, texts: Mapping[str, str]) -> None:
    """Writes files by name into a folder that is made if need be: all of them, or nothing.

    Raises:
      OSError: one cannot be written; it names that file.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runtime.write_together({folder / name: text for name, text in texts.items()})
    except OSError:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def require_predictions(
    clips: Sequence[ClipScore], *, failures: Sequence[Failure], noun: str, remedy: str
) -> None:
    """Refuses a result in which no prediction was scored.

    Args:
      clips: what was scored, in all rows.
      failures: what was not, the most telling first.
      noun: what the predictions are, and `remedy` what to do about them.

    Raises:
      TalkfaceError: no clip is in the model's row.
    """
    if any(clip.row == MODEL for clip in clips):
        return
    model = [failure for failure in failures if failure.row == MODEL]
    if not model:
        raise TalkfaceError(f"there is no {noun} to score; {remedy}")
    why = f"{model[0].clip} ({model[0].reason.rstrip('.')})"
    if len(model) == 1:
        raise TalkfaceError(f"the only {noun} could not be scored: {why}; {remedy}")
    raise TalkfaceError(
        f"none of {len(model)} {noun}s could be scored, for instance {why}; {remedy}"
    )


def table_order(names: Sequence[str]) -> list[str]:
    """Row names in the order of `ROWS`, further ones after them in the order given."""
    known = [name for name in ROWS if name in names]
    return known + [name for name in dict.fromkeys(names) if name not in ROWS]


def numerator(row: str) -> str:
    """The row whose lip distance is divided by that of a baseline."""
    return NUMERATORS.get(row, MODEL)


def _summary(clips: Sequence[ClipScore], failed: int, *, seed: int) -> RowSummary:
    present = {name for clip in clips for name in clip.values}
    curves = np.asarray([clip.lag_curve for clip in clips]).reshape(
        len(clips), 2 * sync.MAX_LAG + 1
    )
    metrics = {}
    for name, info in METRICS.items():
        if name == "lag" and "lag" in present:
            metrics[name] = bootstrap.bootstrap_curve(curves, statistic=sync.best_lag, seed=seed)
        elif name in present:
            values = np.asarray([clip.values.get(name, np.nan) for clip in clips])
            metrics[name] = bootstrap.bootstrap(values, statistic=info.statistic, seed=seed)
    whole = curves[np.isfinite(curves).all(-1)] if len(curves) else curves
    return RowSummary(
        clips=len(clips),
        failed=failed,
        frames=sum(clip.frames for clip in clips),
        faceless=sum(clip.faceless for clip in clips),
        metrics=metrics,
        lag_curve=whole.mean(0) if len(whole) else np.zeros(0),
    )


def _ratio(clips: Sequence[ClipScore], row: str, *, seed: int) -> Interval:
    lips = {(clip.row, clip.clip): clip.values["lip_distance"] for clip in clips}
    over = numerator(row)
    names = [name for r, name in lips if r == over and (row, name) in lips]
    return bootstrap.bootstrap_ratio(
        np.asarray([lips[over, name] for name in names]),
        np.asarray([lips[row, name] for name in names]),
        seed=seed,
    )


def summarise(
    kind: str,
    *,
    clips: Sequence[ClipScore],
    failures: Sequence[Failure],
    conventions: Mapping[str, str],
    run: Mapping[str, str],
    seed: int = 0,
) -> Scores:
    """Means, medians and intervals of per-clip numbers, by row."""
    names = [clip.row for clip in clips] + [failure.row for failure in failures]
    order = table_order(names)
    return Scores(
        kind=kind,
        rows={
            row: _summary(
                [clip for clip in clips if clip.row == row],
                sum(failure.row == row for failure in failures),
                seed=seed,
            )
            for row in order
        },
        ratios={row: _ratio(clips, row, seed=seed) for row in BASELINES if row in order},
        clips=tuple(clips),
        failures=tuple(failures),
        conventions={**conventions, "intervals": bootstrap.CONVENTION},
        run=dict(run),
    )


def format_value(name: str, value: float, *, digits: int | None = None) -> str:
    """A metric's number as shown in tables (with its usual digits); a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    if name == "lag":
        return f"{value:+.0f}" if value else "0"
    return f"{value:.{METRICS[name].digits if digits is None else digits}f}"
