"""`talkface parity`: whether our networks answer as the official PyTorch code did."""

import argparse
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talkface_jax import runtime
from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

if TYPE_CHECKING:
    from talkface_jax.interop.cases import Check
    from talkface_jax.interop.suites import Report

HELP = "compare our networks with stored outputs of the official code"
DESCRIPTION = """\
Runs the parity cases of a folder: inputs and outputs of the official PyTorch
code, whose weights are made from a seed (manifest.json, under _note) and the
names and shapes of its tensors. Prints the error and the tolerance of every
tensor; of a file of more than 50, those that are over and the worst of the
others. Files that a case leaves out are named and not compared. "Kink" marks
gradients beside a ReLU's zero, which rounding moves even in the official code:
they are compared with the range that rounding spans.

The exit status is 1 where a tensor is over its tolerance. Everything is
computed in float32: TF32 and bfloat16 are off, whatever the device.
"""
EPILOG = """\
examples:
  talkface parity --case=tests/parity/iplap
  talkface parity --case=tests/parity/iplap --method=iplap --json=out/parity.json
"""
EXTRAS = ("train",)
_MANY = 50
"""Files with more tensors than this are summed up in the table."""
_WIDE = 200
"""Columns where the output is not a terminal, so that a row stays a line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--case",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="folder with manifest.json and the arrays",
    )
    from talkface_jax.methods import registry

    methods = list(registry.with_parity())
    parser.add_argument(
        "--method",
        help=f"whose networks: {', '.join(methods)} (default: those whose files the case holds); "
        "the other methods have no official code",
    )
    parser.add_argument(
        "--json",
        type=pathlib.Path,
        metavar="FILE",
        help="also write every tensor's error to this file",
    )


def run(args: argparse.Namespace) -> int:
    """Compares and prints; 1 where something is over its tolerance."""
    if args.json is not None:
        runtime.require_folder(args.json.parent, flag="--json")
        if args.json.is_dir():
            raise TalkfaceError(f"--json={args.json} is a folder; name a file in it")
    from talkface_jax.interop import cases, suites
    from talkface_jax.methods import registry

    known, case = registry.parity_suites(args.method), cases.Case(args.case)
    method, code = suites.find_suite(case, known)
    runtime.enable_compilation_cache()
    with common.progress_bars() as progress:
        report = suites.run_suite(case, known[method, code], progress=progress)
    if args.json is not None:
        found = {"case": str(args.case), "method": method, "code": code}
        common.write_json(args.json, found | _as_json(report))
    out = common.console()
    if not out.is_terminal:
        out.width = _WIDE
    out.print(_table(report))
    out.print(_summary(report), soft_wrap=True)
    return 1 if report.over else 0


def _as_json(report: "Report") -> dict[str, Any]:
    return {
        "ok": not report.over,
        "absent": list(report.absent),
        "checks": [
            {
                "file": check.file,
                "tensor": check.tensor,
                # JSON has no NaN and no infinity; null is not ok either way.
                "error": check.error if math.isfinite(check.error) else None,
                "tolerance": check.tolerance,
                "unit": check.unit,
                "ok": check.ok,
            }
            for check in report.checks
        ],
    }


def _table(report: "Report") -> Any:
    from rich.table import Table

    table = Table()
    for name in ("file", "tensor"):
        table.add_column(name, overflow="fold")
    table.add_column("max error", justify="right", no_wrap=True)
    table.add_column("tolerance", no_wrap=True)
    table.add_column("", no_wrap=True)
    files = dict.fromkeys(check.file for check in report.checks)
    for file in files:
        for name, check in _rows([check for check in report.checks if check.file == file]):
            tolerance = f"{check.tolerance:.0e}" if check.tolerance else "0"
            table.add_row(
                file,
                name,
                f"{check.error:.1e}",
                f"{tolerance} {check.unit}".rstrip(),
                "[green]ok[/green]" if check.ok else "[red]OVER[/red]",
            )
        table.add_section()
    return table


def _rows(checks: Sequence["Check"]) -> list[tuple[str, "Check"]]:
    """Each check by its tensor's name; of many, those that are over and the worst of the rest."""
    if len(checks) <= _MANY:
        return [(check.tensor, check) for check in checks]
    rows = [(check.tensor, check) for check in checks if not check.ok]
    fine: dict[str, list[Check]] = {}
    for check in checks:
        if check.ok:
            fine.setdefault(check.unit, []).append(check)
    for group in fine.values():
        worst = max(group, key=lambda check: check.error)
        rows.append((f"{len(group)} tensors, worst {worst.tensor}", worst))
    return rows


def _summary(report: "Report") -> str:
    """One line."""
    count, over = len(report.checks), report.over
    if over:
        names = ", ".join(f"{check.file} {check.tensor}" for check in over[:3])
        more = f" and {len(over) - 3} more" if len(over) > 3 else ""
        text = f"{len(over)} of {count} tensors over tolerance: {names}{more}"
    else:
        text = f"all {count} tensors within tolerance"
    return text + (f"; not in this case: {', '.join(report.absent)}" if report.absent else "")
