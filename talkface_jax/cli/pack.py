"""`talkface pack`: a trained speech recogniser becomes the weight file of a speech feature."""

import argparse
import pathlib
from typing import Any

from talkface_jax import api, runtime
from talkface_jax.cli import common
from talkface_jax.errors import ConfigError

HELP = "a trained recogniser -> the weight file of a speech feature"
DESCRIPTION = """\
Writes the best checkpoint of the stage speech/ctc29 as one safetensors file of
16-bit numbers, reads it back as the speech feature does, and prints the
character error rate of every voice of the test split, in clean and in noisy
sound. The checkpoint was chosen by another split (data.eval_split).

In a checkout, talkface_jax/assets/ctc29.safetensors is the file that the
feature ctc29 loads.
"""
EPILOG = """\
example:
  talkface pack --workdir=out/ctc29 --data=out/speech --out=ctc29.safetensors
"""
EXTRAS = ("train",)
_SPLIT = "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--workdir", required=True, type=pathlib.Path, help="working directory of speech/ctc29"
    )
    parser.add_argument(
        "--data", required=True, type=pathlib.Path, metavar="DIR", help="prepared speech"
    )
    parser.add_argument(
        "--split", default=_SPLIT, metavar="NAME", help=f"of --data (default: {_SPLIT})"
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Writes, reads back, prints the scores."""
    from talkface_jax.data.pipeline import open_dataset
    from talkface_jax.features import ctc29
    from talkface_jax.methods.speech import scores
    from talkface_jax.methods.speech.ctc29.config import SoundConfig
    from talkface_jax.train import checkpoint

    experiment = api.load_workdir_experiment(args.workdir)
    if (experiment.method, experiment.stage) != ("speech", "ctc29"):
        raise ConfigError(
            f"{args.workdir} holds stage {experiment.method}/{experiment.stage}; give a working "
            "directory of speech/ctc29"
        )
    dataset = open_dataset(args.data, args.split)
    runtime.require_folder(args.out.parent, flag="the folder of --out")
    runtime.enable_compilation_cache()
    variables, info = checkpoint.load_params(args.workdir, ["ctc"])
    network, params = experiment.task.net, variables["ctc"]["params"]
    digest = ctc29.write_weights(args.out, network, params)
    recognise = ctc29.Recogniser(*ctc29.read_weights(args.out), digest)
    rows = scores.score_voices(recognise, dataset, SoundConfig())
    out = common.console()
    size = args.out.stat().st_size
    out.print(f"{args.out}: step {info['step']}, {size:,} bytes, sha256 {digest}", soft_wrap=True)
    out.print(_table(rows))
    return 0


def _table(rows: list[Any]) -> Any:
    from rich.table import Table

    table = Table("voice", "clips", "characters", "CER clean", "CER noisy")
    for row in rows:
        numbers = (f"{row.clips}", f"{row.characters:,}", f"{row.clean:.1%}", f"{row.noisy:.1%}")
        table.add_row(row.voice, *numbers)
    return table
