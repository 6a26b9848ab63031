"""`talkface train`: one stage, on any number of devices."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from talkface_jax import api, runtime
from talkface_jax.cli import common

HELP = "train one stage; the same command again resumes"
DESCRIPTION = (
    """\
Trains one stage of a method on a prepared data set, sharded over all devices.

Writes checkpoints, metrics.jsonl and TensorBoard events to the working
directory. Run the same command again and it continues where it stopped, with
the same batches and the same random numbers.

With --init-from a run starts from the players that another run trained, or
that `talkface convert` read, instead of fresh ones; optimisers start fresh.

"""
    + common.CONFIGS
)
EPILOG = """\
examples:
  talkface train --config=configs/iplap/motion.py:tiny --workdir=out/motion \\
    --config.data.directory=out/data --config.train.steps=2000
  tensorboard --logdir out/motion
  talkface train --config=configs/sinha2020/blink.py:tiny --workdir=out/blink \\
    --config.data.directory=out/data
  talkface train --config=configs/speech/ctc29.py --workdir=out/ctc29 \\
    --config.data.directory=out/voices
  talkface train --config=configs/iplap/motion.py:base --workdir=out/tuned \\
    --config.data.directory=out/data --init-from=out/converted
"""
EXTRAS = ("train",)
TAKES_CONFIG = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    common.add_config_argument(parser)
    parser.add_argument(
        "--workdir",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="directory for checkpoints and logs",
    )
    parser.add_argument(
        "--init-from",
        action="append",
        default=[],
        metavar="DIR",
        help="start from the players in DIR, a working directory of talkface train or convert; "
        "may be given several times",
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0 when all steps are done."""
    experiment = api.load_experiment(args.config, args.overrides)
    # Before processes wait for each other.
    runtime.require_folder(args.workdir, flag="--workdir")
    runtime.enable_compilation_cache()
    from talkface_jax.train import distributed

    distributed.initialize_from_env()
    with _Bar(shown=not args.no_progress) as bar:
        result = api.train(
            experiment,
            workdir=args.workdir,
            init_from=args.init_from,
            progress=bar.progress,
            measured=bar.measured,
        )
    import jax

    if jax.process_index():
        return 0
    out = common.console()
    stage = f"{experiment.method}/{experiment.stage}"
    out.print(f"{stage}: {result.step} steps done in {args.workdir}")
    for name, value in sorted(result.metrics.items()):
        out.print(f"  {name:<28} {value:.6g}")
    out.print(f"  checkpoint                   {result.checkpoint}")
    return 0


class _Bar:
    """A bar on standard error, from the first step on: step, loss, steps a second, time left."""

    def __init__(self, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]} steps/s"),
            TimeRemainingColumn(),
        )
        self._display = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._bar: Any = None
        self._fields: dict[str, Any] = {"loss": "-", "rate": "-"}

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._display.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """Moves the bar; loss and rate are as they were measured last."""
        if self._bar is None:
            self._display.start()
            self._bar = self._display.add_task(what, total=total, **self._fields)
        self._display.update(self._bar, completed=done, **self._fields)

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the sum of all players' losses, and the pace where it is there."""
        loss = sum(value for name, value in values.items() if name.endswith("/total"))
        self._fields["loss"] = f"{loss:.4f}"
        if "steps_per_second" in values:
            self._fields["rate"] = f"{values['steps_per_second']:.2f}"
