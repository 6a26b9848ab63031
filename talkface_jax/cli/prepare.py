"""`talkface prepare`: raw videos become shards with tracked landmarks."""

import argparse
import pathlib

from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

HELP = "raw videos -> tracked, sharded data set"
DESCRIPTION = """\
Reads raw talking-head videos, brings them to 25 frames and 16,000 samples a
second, tracks the face (478 points, 52 blendshapes, head pose) and writes
method-agnostic TFRecord shards with an index and a manifest.

A clip that cannot be used becomes a row of failures.jsonl with its reason. A
stopped run continues where it was. The same input gives the same bytes,
whatever the number of workers.
"""
EPILOG = """\
examples:
  talkface prepare --dataset=folder --raw=my_videos --out=out/data
  talkface prepare --dataset=synthetic --clips=24 --seed=0 --out=out/data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="folder (any tree of videos) or synthetic (talking heads made on the spot)",
    )
    parser.add_argument("--raw", type=pathlib.Path, help="raw data (folder: the tree of videos)")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="prepared data set")
    parser.add_argument(
        "--face",
        help="which face to follow where there are several: speaker, largest, or an index from "
        "the left",
    )
    parser.add_argument(
        "--workers", type=common.at_least(1), default=1, help="processes (default: 1)"
    )
    parser.add_argument(
        "--shards",
        type=common.at_least(1),
        help="shards of each split (default: by size)",
    )
    parser.add_argument(
        "--max-failures",
        type=common.at_least(0),
        default=0,
        help="how many clips may fail (default: 0)",
    )
    synthetic = parser.add_argument_group("synthetic")
    synthetic.add_argument(
        "--clips", type=common.at_least(1), help="how many training clips to make"
    )
    synthetic.add_argument(
        "--test-clips", type=common.at_least(0), help="held-out clips (default: a quarter)"
    )
    synthetic.add_argument(
        "--seed", type=common.at_least(0), default=0, help="the set is a function of it"
    )


def run(args: argparse.Namespace) -> int:
    """Generates if asked, prepares, prints the summary."""
    from data_prep import datasets, prepare

    datasets.get_adapter(args.dataset)
    common.require_folder(args.out, flag="--out")
    raw = args.raw
    with common.progress_bars() as progress:
        if args.dataset == "synthetic":
            if args.clips is None:
                raise TalkfaceError(
                    "--dataset=synthetic needs the number of clips to make; give --clips=N"
                )
            from data_prep.synthetic import dataset as synthetic

            raw = raw or args.out / "raw"
            common.require_folder(raw, flag="--raw")
            synthetic.generate(
                raw,
                clips=args.clips,
                held_out_clips=args.test_clips,
                seed=args.seed,
                workers=args.workers,
                progress=progress,
            )
        elif raw is None:
            raise TalkfaceError(f"--dataset={args.dataset} needs the raw videos; give --raw=DIR")
        summary = prepare.prepare(
            args.dataset,
            raw=raw,
            out=args.out,
            face=args.face,
            shards=args.shards,
            workers=args.workers,
            max_failures=args.max_failures,
            progress=progress,
        )
    common.console().print(str(summary), soft_wrap=True)
    return 0
