"""`talkface pack`: a trained reader of sound or faces becomes the weight file of a feature."""

import argparse
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from talkface_jax import api, runtime
from talkface_jax.cli import common
from talkface_jax.errors import ConfigError

HELP = "a trained recogniser or emotion reader -> the weight file of a feature"
DESCRIPTION = """\
Writes a checkpoint as one safetensors file, reads it back as the feature does,
and prints how well it does on the test split. The checkpoint is the best one by
another split (data.eval_split), or the last where train.best_metric is empty.

  speech/ctc29         16-bit numbers; the character error rate of every voice,
                       in clean and in noisy sound
  emotion/blendshapes  32-bit numbers; which emotion is taken for which, over
                       whole segments and in single frames

In a checkout, talkface_jax/assets holds the files that the features load; the
checksum of the emotion reader's stands in talkface_jax/features/emotion.py.
"""
EPILOG = """\
examples:
  talkface pack --workdir=out/ctc29 --data=out/speech --out=ctc29.safetensors
  talkface pack --workdir=out/emotion --data=out/data --out=emotion.safetensors
"""
EXTRAS = ("train",)
_SPLIT = "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--workdir", required=True, type=pathlib.Path, help="working directory of such a stage"
    )
    parser.add_argument(
        "--data", required=True, type=pathlib.Path, metavar="DIR", help="prepared set"
    )
    parser.add_argument(
        "--split", default=_SPLIT, metavar="NAME", help=f"of --data (default: {_SPLIT})"
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Writes, reads back, prints the scores."""
    from talkface_jax.data.pipeline import open_dataset
    from talkface_jax.train import checkpoint

    experiment = api.load_workdir_experiment(args.workdir)
    stage = f"{experiment.method}/{experiment.stage}"
    if stage not in _STAGES:
        raise ConfigError(
            f"{args.workdir} holds stage {stage}; give a working directory of "
            f"{' or '.join(_STAGES)}"
        )
    player, write = _STAGES[stage]
    dataset = open_dataset(args.data, args.split)
    runtime.require_folder(args.out.parent, flag="the folder of --out")
    runtime.enable_compilation_cache()
    variables, info = checkpoint.load_params(args.workdir, [player])
    digest, tables = write(args.out, experiment.task, variables[player], dataset)
    out = common.console()
    size = args.out.stat().st_size
    out.print(f"{args.out}: step {info['step']}, {size:,} bytes, sha256 {digest}", soft_wrap=True)
    for table in tables:
        out.print(table)
    return 0


def _recogniser(
    path: pathlib.Path, task: Any, variables: Mapping[str, Any], dataset: Any
) -> tuple[str, list[Any]]:
    """The file of the speech feature `ctc29`: checksum, and error rates by voice."""
    from rich.table import Table

    from talkface_jax.features import ctc29
    from talkface_jax.methods.speech import scores
    from talkface_jax.methods.speech.ctc29.config import SoundConfig

    digest = ctc29.write_weights(path, task.net, variables["params"])
    recognise = ctc29.Recogniser(*ctc29.read_weights(path), digest)
    table = Table("voice", "clips", "characters", "CER clean", "CER noisy")
    for row in scores.score_voices(recognise, dataset, SoundConfig()):
        numbers = (f"{row.clips}", f"{row.characters:,}", f"{row.clean:.1%}", f"{row.noisy:.1%}")
        table.add_row(row.voice, *numbers)
    return digest, [table]


def _emotions(
    path: pathlib.Path, task: Any, variables: Mapping[str, Any], dataset: Any
) -> tuple[str, list[Any]]:
    """The file of the emotion reader: checksum, and what it takes for what."""
    from talkface_jax.features import emotion
    from talkface_jax.methods.emotion import scores

    digest = emotion.write_weights(path, task.net, variables)
    reader = emotion.EmotionReader(*emotion.read_weights(path), digest)
    found = scores.score_reader(reader, dataset)
    levels = ", ".join(f"level {level} {share:.1%}" for level, share in found.levels.items())
    strengths = ", ".join(f"{value:.2f}" for value in found.strengths.values())
    return digest, [
        f"whole segments: {scores.accuracy(found.segments):.1%}, every emotion alike; {levels}",
        _confusion(found.segments),
        f"single frames: {scores.accuracy(found.frames):.1%}",
        _confusion(found.frames),
        f"strength of neutral faces and of levels 1 to 3: {strengths}; intensity is "
        f"{found.intensity_error:.2f} from level / 3",
    ]


def _confusion(table: Any) -> Any:
    from rich.table import Table

    from talkface_jax.records import EMOTIONS

    view = Table("shown", *(f"{name[:5]}" for name in EMOTIONS))
    for name, row in zip(EMOTIONS, table, strict=True):
        view.add_row(name, *(f"{count:.0f}" if count else "" for count in row))
    return view


_Writer = Callable[[pathlib.Path, Any, Mapping[str, Any], Any], tuple[str, list[Any]]]
_STAGES: Mapping[str, tuple[str, _Writer]] = {
    "speech/ctc29": ("ctc", _recogniser),
    "emotion/blendshapes": ("emotion", _emotions),
}
"""Stage: the player that is packed, and what writes and judges it."""
