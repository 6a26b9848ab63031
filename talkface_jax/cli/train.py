"""`talkface train`: one stage, on any number of devices."""

import argparse
import dataclasses
import pathlib

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
    from talkface_jax import runtime

    config = common.load_experiment(args.config, args.overrides)
    if args.init_from:
        places = (*config.train.init_from, *args.init_from)
        train = dataclasses.replace(config.train, init_from=places)
        config = dataclasses.replace(config, train=train)
    common.require_folder(args.workdir, flag="--workdir")
    runtime.enable_compilation_cache()
    from talkface_jax.methods import registry
    from talkface_jax.train import distributed, loop

    distributed.initialize_from_env()
    task = registry.build_task(config.method, config.stage, config.task)
    result = loop.train(task, config, workdir=args.workdir, progress=not args.no_progress)
    import jax

    if jax.process_index():
        return 0
    out = common.console()
    out.print(f"{config.method}/{config.stage}: {result.step} steps done in {args.workdir}")
    for name, value in sorted(result.metrics.items()):
        out.print(f"  {name:<28} {value:.6g}")
    out.print(f"  checkpoint                   {result.checkpoint}")
    return 0
