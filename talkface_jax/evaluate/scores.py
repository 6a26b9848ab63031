"""What an evaluation yields: numbers by clip and by row, and failures; written as scores.json.

Schema of scores.json (version 2; NaN is written as null):

    {"schema": 2, "kind": "benchmark" | "motion",
     "systems": [ROW, ...], "counts": {"clips", "scored", "failures", "frames", "lost"},
     "rows": {ROW: {"clips": n, "failed": n, "frames": n, "faceless": n, "lost": n,
                    "missing": n, "metrics": {METRIC: {"value", "low", "high", "n"}},
                    "lag_curve": [correlation at lag -10 ... 10, averaged over clips]}},
     "comparisons": {ROW: {OVER: {METRIC: {"ratio": {"value", "low", "high", "n"},
                                           "difference": {"value", "low", "high", "n"}}}}},
     "groups": [{"column", "row", "values": {VALUE: {METRIC: {"value", "low", "high", "n"}}},
                 "gaps": {METRIC: best group's value - worst group's, without sign}}],
     "clips": [{"clip", "row", "speaker", "groups", "frames", "faceless", "lost",
                "missing", "values": {METRIC: x}, "lag_curve",
                "opening": [mouth opening of every frame, null without a face], "notes": [text]}],
     "failures": [{"clip", "row", "reason"}],
     "metrics": {METRIC: {"label", "unit", "better"}},
     "conventions": {topic: text}, "run": {topic: text}}

A comparison is paired: both rows over the clips that both have, resampled together.
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
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.columns import METRICS

SCHEMA = 2

MODEL = "model"
GROUND_TRUTH = "ground-truth"
NOISE_FLOOR = "tracker-noise"
STATIC_MOUTH = "static-mouth"
SHIFTED_AUDIO = "shifted-audio"
MISMATCHED = "mismatched"
SILENCE = "silence"
RIDGE = "ridge"
UNTRAINED = "untrained"
MODEL_OTHER_HALF = "model-other-half"
STATIC_OTHER_HALF = "static-other-half"
ROWS = {
    MODEL: "the prediction",
    UNTRAINED: "the same motion, drawn by the renderer with which training began",
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
BASELINES = (STATIC_MOUTH, SHIFTED_AUDIO, MISMATCHED, SILENCE, RIDGE, UNTRAINED, STATIC_OTHER_HALF)
"""Rows that a system is read against."""
OTHER_HALF = (MODEL_OTHER_HALF, STATIC_OTHER_HALF)
"""Compared with each other only: nothing else has these references."""


@dataclasses.dataclass(frozen=True)
class ClipScore:
    """One clip in one row.

    Attributes:
      frames: frames compared; faceless: frames of the clip left out because the truth shows no
        face; lost: frames compared in which the prediction shows none, though the truth does
        (`evaluate.lost`).
      values: metric -> number; a metric that the row does not have (images of a landmark-only row)
        is absent.
      lag_curve: `metrics.sync.lag_curve`.
      opening: mouth opening of every frame, NaN where there is no face.
      missing: frames at the truth's end that the prediction does not have; not compared.
      speaker: who is seen, "" where that is not known; intervals resample speakers.
      groups: column -> value, of the clip's metadata (emotion, view, ...).
      notes: what a reader must know of this clip in this row, in sentences.
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
    lost: int = 0
    missing: int = 0
    notes: tuple[str, ...] = ()


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
    lost: int
    missing: int
    metrics: Mapping[str, Interval]
    lag_curve: np.ndarray


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One row against another over the clips that both have: ratio and difference of the means."""

    ratio: Interval
    difference: Interval


@dataclasses.dataclass(frozen=True)
class GroupTable:
    """A row's numbers by one column of the clips' metadata.

    Attributes:
      column: of the metadata; row: of the table.
      values: value of the column -> metric -> number.
      gaps: metric -> distance of the best group from the worst.
    """

    column: str
    row: str
    values: Mapping[str, Mapping[str, Interval]]
    gaps: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Everything an evaluation found; `rows` is in table order.

    Attributes:
      systems: the rows that are somebody's predictions.
      comparisons: (row, other row) -> metric -> the first against the second.
    """

    kind: str
    rows: Mapping[str, RowSummary]
    comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]]
    clips: Sequence[ClipScore]
    failures: Sequence[Failure]
    conventions: Mapping[str, str]
    run: Mapping[str, str]
    systems: Sequence[str] = (MODEL,)
    groups: Sequence[GroupTable] = ()

    def of_row(self, row: str) -> list[ClipScore]:
        """The clips of one row."""
        return [clip for clip in self.clips if clip.row == row]

    def ratios(self, metric: str = "lip_distance") -> dict[tuple[str, str], Interval]:
        """The paired ratios of one metric, where there are any."""
        return {
            pair: found[metric].ratio
            for pair, found in self.comparisons.items()
            if metric in found and math.isfinite(found[metric].ratio.value)
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that the module's docstring describes."""
        comparisons: dict[str, dict[str, Any]] = {}
        for (row, over), found in self.comparisons.items():
            comparisons.setdefault(row, {})[over] = plain(found)
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "systems": list(self.systems),
            "counts": {
                "clips": len({item.clip for item in (*self.clips, *self.failures)}),
                "scored": len({item.clip for item in self.clips if item.row in self.systems}),
                "failures": len(self.failures),
                "frames": sum(self.rows[row].frames for row in self.systems if row in self.rows),
                "lost": sum(self.rows[row].lost for row in self.systems if row in self.rows),
            },
            "rows": {name: plain(summary) for name, summary in self.rows.items()},
            "comparisons": comparisons,
            "groups": [plain(group) for group in self.groups],
            "clips": [plain(clip) for clip in self.clips],
            "failures": [plain(failure) for failure in self.failures],
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


def plain(value: Any) -> Any:
    """What JSON can hold of a value: dataclasses by field, NaN and infinities as null."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(float(item)) for item in value]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def write_files(folder: pathlib.Path, texts: Mapping[str, str]) -> None:
    """Writes files by name into a folder that is made if need be: all of them, or nothing.

    Raises:
      OSError: the disk is full, or permission is missing; it names the file.
      TalkfaceError: something else is in the way.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runtime.write_together({folder / name: text for name, text in texts.items()})
    except OSError as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, (IsADirectoryError, NotADirectoryError, FileNotFoundError)):
            raise TalkfaceError(
                f"{error.filename or folder} cannot be written ({error.strerror}); choose another "
                "folder, or move what lies there"
            ) from error
        raise


def require_predictions(
    clips: Sequence[ClipScore],
    *,
    failures: Sequence[Failure],
    noun: str,
    remedy: str,
    systems: Sequence[str] = (MODEL,),
) -> None:
    """Refuses a result in which no prediction was scored.

    Args:
      clips: what was scored, in all rows.
      failures: what was not, the most telling first.
      noun: what the predictions are, and `remedy` what to do about them.
      systems: the rows that are predictions.

    Raises:
      TalkfaceError: no clip is in any of these rows.
    """
    if any(clip.row in systems for clip in clips):
        return
    by_clip = {failure.clip: failure for failure in reversed(failures) if failure.row in systems}
    model = [failure for failure in failures if by_clip.get(failure.clip) is failure]
    if not model:
        raise TalkfaceError(f"there is no {noun} to score; {remedy}")
    why = f"{model[0].clip} ({model[0].reason.rstrip('.')})"
    if len(model) == 1:
        raise TalkfaceError(f"the only {noun} could not be scored: {why}; {remedy}")
    raise TalkfaceError(
        f"none of {len(model)} {noun}s could be scored, for instance {why}; {remedy}"
    )


def table_order(names: Sequence[str], *, systems: Sequence[str] = (MODEL,)) -> list[str]:
    """Row names: systems, then those of `ROWS` in its order, then others in the order given."""
    first = [name for name in systems if name in names]
    known = [name for name in ROWS if name in names and name not in first]
    return list(dict.fromkeys([*first, *known, *names]))
