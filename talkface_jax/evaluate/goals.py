"""Whether the reports of a demo keep the bounds that its method declares."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

from talkface_jax.capabilities import Goal, Paired, Table

_BY_PATH = (Table.BLINKS, Table.EMOTIONS)
"""Reports that have no table of rows: a number is named by its path."""
_VERDICTS = ("nearer", "grows")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One goal, looked at.

    Attributes:
      goal: what was wanted.
      reached: for the reader, as the number or why there is none.
      met: whether it is within its bounds.
    """

    goal: Goal
    reached: str
    met: bool

    def __str__(self) -> str:
        """One line: met or missed, what was reached, what was wanted."""
        verdict = "met   " if self.met else "MISSED"
        return f"{verdict} {self.goal.what}: {self.reached} (wanted {_wanted(self.goal)})"


def judge(goals: Iterable[Goal], folder: pathlib.Path) -> list[Verdict]:
    """Looks the goals up in the reports below a folder.

    What compares two rows counts as met only where their intervals do not overlap, or, paired,
    where the interval of the comparison lies on the bound's side of what equal rows give.

    Args:
      goals: of the method.
      folder: the method's folder of the demo, with the reports that `Table` names.
    """
    wanted = list(goals)
    reports = {table: _read(folder / table.value) for table in {goal.table for goal in wanted}}
    return [_verdict(goal, reports[goal.table], folder) for goal in wanted]


def _read(path: pathlib.Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _verdict(goal: Goal, report: Any, folder: pathlib.Path) -> Verdict:
    if report is None:
        return Verdict(goal, f"not measured, {folder / goal.table.value} was not written", False)
    try:
        value, apart = _number(goal, report)
    except KeyError as error:
        return Verdict(goal, f"not measured, the report has no {error.args[0]}", False)
    if value is None:
        return Verdict(goal, "none", False)
    size = abs(value) if goal.either_way else value
    within = (goal.least is None or size >= goal.least) and (goal.most is None or size <= goal.most)
    shown = ("no", "yes")[value] if isinstance(value, bool) else f"{value:.2f}"
    return Verdict(goal, shown, within and apart)


def _number(goal: Goal, report: Any) -> tuple[Any, bool]:
    """The goal's number, None where there is none; and whether the intervals of two rows are
    apart."""
    if goal.paired is not None:
        return _compared(goal, report, goal.paired)
    if goal.table in _BY_PATH and not goal.over:
        value = report
        for part in goal.number.split("."):
            value = value[part]
        return value, True
    own = report["rows"][goal.row]["metrics"][goal.number]
    if not goal.over:
        return own["value"], True
    other = report["rows"][goal.over]["metrics"][goal.number]
    if own["value"] is None or not other["value"]:
        return None, False
    # The row must lie on the bound's side: below where there is a largest ratio, else above.
    apart = own["high"] < other["low"] if goal.most is not None else own["low"] > other["high"]
    return own["value"] / other["value"], apart


def _compared(goal: Goal, report: Any, paired: Paired) -> tuple[Any, bool]:
    """The same of a comparison over the same clips."""
    found = report["comparisons"][goal.row][goal.over][goal.number][paired.key]
    if any(found[part] is None for part in ("value", "low", "high")):
        return found["value"], False
    alike = paired.alike
    return found["value"], found["high"] < alike if goal.most is not None else found["low"] > alike


def _wanted(goal: Goal) -> str:
    if goal.number in _VERDICTS:
        return "yes"
    if goal.either_way:
        return f"within {goal.most:g}"
    if goal.least is not None and goal.most is not None:
        return f"{goal.least:g} to {goal.most:g}"
    bound = f"<= {goal.most:g}" if goal.least is None else f">= {goal.least:g}"
    if goal.paired is not None:
        return f"{bound}, paired interval beyond {goal.paired.alike:g}"
    return f"{bound}, intervals apart" if goal.over else bound
