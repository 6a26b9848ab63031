"""What several commands share: consoles, progress bars, configs by flag."""

import argparse
import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from talkface_jax import runtime
from talkface_jax.errors import ConfigError, TalkfaceError
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
    """Progress bars on standard error, one for each `what` that is reported."""
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
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield report


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


def require_folder(path: pathlib.Path, *, flag: str) -> None:
    """Checks, before hours of work, that a folder exists or can be made, and be written to.

    Raises:
      TalkfaceError: a file is in the way, or permission is missing.
    """
    found = path.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        raise TalkfaceError(f"{flag}={path} cannot be a folder: {found} is a file; choose another")
    if not os.access(found, os.W_OK | os.X_OK):
        raise TalkfaceError(f"{flag}={path}: you may not write to {found}; choose another folder")


def add_config_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`--config`, with its overrides."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE[:ARG]",
        help="config file and its size (base where it is left out), for example "
        "configs/iplap/motion.py:tiny; --config.a.b=value overrides any field",
    )


def load_experiment(config: str, overrides: Sequence[str]) -> Any:
    """The frozen experiment that `--config` and its overrides describe.

    Raises:
      ConfigError: anything wrong with the file, a field or a value.
    """
    from talkface_jax import config as config_module

    values = config_module.parse_flags([f"--config={config}", *overrides])
    for name in ("method", "stage"):
        if name not in values:
            raise ConfigError(f"{config} sets no {name}; return a full ExperimentConfig from it")
    try:
        task_class = registry.task_class(values["method"], values["stage"])
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from error
    return config_module.freeze(values, task_class=task_class.config_class, where=config)


def load_workdir_experiment(workdir: pathlib.Path) -> Any:
    """The experiment that a training directory was made with.

    Raises:
      ConfigError: there is no config in it, or it does not fit this version.
    """
    from talkface_jax import config as config_module

    path = workdir / "config.json"
    values = config_module.load_json(path)
    task_class = registry.task_class(values.get("method", ""), values.get("stage", ""))
    return config_module.freeze(values, task_class=task_class.config_class, where=str(path))


def write_json(path: pathlib.Path, value: Any) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runtime.write_whole(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
