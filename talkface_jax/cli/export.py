"""`talkface export`: checkpoints of a method's stages become one bundle."""

import argparse
import pathlib

from talkface_jax import api, runtime
from talkface_jax.cli import common

HELP = "checkpoints -> a bundle that runs anywhere"
DESCRIPTION = """\
Writes a bundle: the networks as jax.export programs (CPU, CUDA and TPU from
any machine), their weights as safetensors, the config, and a manifest with
checksums and the lineage of the weights (data, licence, checkpoints).

A bundle holds one method: give the working directory of every stage of it.
"""
EPILOG = """\
examples:
  talkface export --motion=out/motion --render=out/render --out=out/bundle
  talkface export --motion=out/sinha2020/motion --blink=out/sinha2020/blink \\
    --render=out/sinha2020/render --out=out/bundle
"""
EXTRAS = ("train",)

_STAGE = "stage_"
"""Before the name of a stage among the arguments."""


def add_stage_arguments(parser: argparse.ArgumentParser, *, title: str, suffix: str = "") -> None:
    """A flag for every stage that some method has, below which flags each method needs.

    Args:
      suffix: behind the stage's name, where the command has other flags of such names.
    """
    from talkface_jax.methods import registry

    needed = [
        f"{name} needs {' '.join(f'--{stage}{suffix}' for stage in item.chained)}"
        for name, item in registry.methods().items()
    ]
    group = parser.add_argument_group(title, "\n".join(needed))
    for stage in registry.stages():
        group.add_argument(
            f"--{stage}{suffix}",
            dest=f"{_STAGE}{stage}",
            type=pathlib.Path,
            action="append",
            metavar="DIR",
            help=f"of the {stage} stage, from talkface train or convert; again where its players "
            "lie apart",
        )


def given_stages(args: argparse.Namespace) -> dict[str, list[pathlib.Path]]:
    """The working directories that were given, by stage."""
    from talkface_jax.methods import registry

    found = {stage: getattr(args, f"{_STAGE}{stage}") for stage in registry.stages()}
    return {stage: paths for stage, paths in found.items() if paths is not None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="bundle directory"
    )
    parser.add_argument(
        "--untrained",
        action="append",
        default=[],
        metavar="STAGE",
        help="export that stage with the weights with which its training began: a baseline for "
        "talkface evaluate; again for each further stage",
    )
    parser.add_argument(
        "--compute",
        default="float32",
        choices=("float32", "bfloat16"),
        help="number format of the networks' arithmetic (default: float32); bfloat16 is for "
        "accelerators",
    )
    add_stage_arguments(parser, title="working directories, of every stage of one method")


def run(args: argparse.Namespace) -> int:
    """Exports; prints what lies in the bundle."""
    workdirs = given_stages(args)
    if not workdirs:
        args.parser.error("give the working directory of every stage, for example --motion=DIR")
    runtime.enable_compilation_cache()
    written = api.export(workdirs, out=args.out, untrained=args.untrained, compute=args.compute)
    out = common.console()
    out.print(f"bundle {args.out}: method {written.method}, weights {written.weight_id}")
    for path in sorted(args.out.iterdir()):
        out.print(f"  {path.name:<28} {path.stat().st_size:>12,} bytes")
    return 0
