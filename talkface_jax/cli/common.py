"""What several commands share: consoles, progress bars, configs by flag."""

import argparse
import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from talkface_jax import runtime
from talkface_jax.methods import registry

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


def _config_list() -> str:
    """The configs of the checkout, a line for every method."""
    stages: dict[str, list[str]] = {}
    for method, stage in registry.tasks():
        stages.setdefault(method, []).append(stage)
    lines = [
        f"  configs/{method + '/':<10} {' '.join(f'{name}.py' for name in names)}\n"
        for method, names in stages.items()
    ]
    return "".join(lines)


CONFIGS = f"""\
Configs of the checkout, whose root is where to run this (or give a full path):
{_config_list()}Each has the sizes :base, the full one, which is also what FILE alone means,
and :tiny, for trying it out on two cores.
"""
"""For the help of commands with `--config`."""


def console() -> Any:
    """Standard output through rich."""
    import rich.console

    return rich.console.Console(highlight=False)


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """Progress bars on standard error, one for each `what` that is reported.

    Nothing is drawn, and no thread draws, before the first report: what fails at once says one line
    alone, and an import that no other thread may disturb can come before.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars: dict[str, Any] = {}
    progress = Progress(*columns, console=Console(stderr=True))

    def report(what: str, done: int, total: int) -> None:
        if not bars:
            progress.start()
        if what not in bars:
            bars[what] = progress.add_task(what, total=total)
        progress.update(bars[what], completed=done, total=total)

    try:
        yield report
    finally:
        if bars:
            progress.stop()


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type: whole numbers from `minimum` on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < minimum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {minimum}, not {text}"
            )
        return value

    return parse


def folder(text: str) -> pathlib.Path:
    """An argparse type: a path that is not empty (an unset variable of the shell gives that)."""
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, and is empty")
    return pathlib.Path(text)


def add_config_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`--config`, with its overrides."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE[:ARG]",
        help="config file and its size (base where it is left out), for example "
        "configs/iplap/motion.py:tiny; --config.a.b=value overrides any field",
    )


def write_json(path: pathlib.Path, value: Any) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runtime.write_whole(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
