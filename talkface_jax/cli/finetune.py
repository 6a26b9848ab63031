"""`talkface finetune`: a bundle is trained further on one picture of a person."""

import argparse
import pathlib

from talkface_jax import api, runtime
from talkface_jax.cli import common

HELP = "a bundle and one picture -> a bundle that paints that person better"
DESCRIPTION = """\
Trains the network that paints faces further on one picture of a person, beside
faces of other people that the bundle brings, so that it does not forget them.
It needs the bundle and the picture, nothing else. It ends when the picture gets
no better; the new bundle is used like the old one.

All other networks of the bundle are carried over as they are. The manifest says
which bundle it comes from, and holds a checksum of the picture, not its name.
"""
EPILOG = """\
examples:
  talkface finetune --bundle=out/bundle --face=portrait.jpg --out=out/mine
  talkface synthesize --bundle=out/mine --face=portrait.jpg --audio=sentence.wav \\
    --out=out/talking.mp4
"""
EXTRAS = ("train", "synthesize")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--bundle", required=True, type=pathlib.Path, metavar="DIR", help="from talkface export"
    )
    parser.add_argument(
        "--face", required=True, type=pathlib.Path, metavar="IMAGE", help="a still picture"
    )
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="the bundle to make"
    )
    parser.add_argument(
        "--face-choice",
        metavar="WHICH",
        help="where there are several faces: largest, or an index from the left",
    )
    parser.add_argument(
        "--steps",
        type=common.at_least(1),
        default=200,
        metavar="N",
        help="at most so many optimiser steps (default: 200)",
    )
    parser.add_argument(
        "--seed", type=common.at_least(0), default=0, metavar="N", help="of all draws (default: 0)"
    )


def run(args: argparse.Namespace) -> int:
    """Trains; prints how the picture was painted before and is painted now."""
    runtime.enable_compilation_cache()
    with common.progress_bars() as progress:
        found = api.finetune(
            args.bundle,
            face=args.face,
            out=args.out,
            face_choice=args.face_choice,
            steps=args.steps,
            seed=args.seed,
            progress=progress,
        )
    common.console().print(str(found), soft_wrap=True)
    return 0
