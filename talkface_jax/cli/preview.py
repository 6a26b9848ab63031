"""`talkface preview`: look at a prepared clip and listen to it."""

import argparse
import pathlib

from talkface_jax import runtime
from talkface_jax.cli import common

HELP = "one prepared clip as an mp4 with landmarks, gaze, pose and sound"
DESCRIPTION = """\
Writes one clip of a prepared data set as an mp4 to look at: the stored crops
with the tracked contours, the crop that the methods' views cut, gaze and head
pose, bars for blinks and jaw, and the sound, as a log-mel and a waveform with
the mouth's opening under a moving cursor, and to hear. All segments of the clip
follow each other. A contact sheet (FILE.png) lies beside it.

Of a sound-only set (--dataset=speech) the crops are grey; there is the sound
alone to see and to hear.

Where the words have p, b or m the lips must meet: there the orange line, the
mouth's opening, falls to the bottom.
"""
EPILOG = """\
examples:
  talkface preview out/data --out=first.mp4
  talkface preview out/data --clip=M003_happy_2_014 --out=clip.mp4
"""
EXTRAS = ("prepare",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("data", metavar="DIR", help="local folder, from talkface prepare")
    parser.add_argument(
        "--clip",
        metavar="NAME",
        help="which clip, as in clips.jsonl (default: the first)",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=pathlib.Path,
        metavar="FILE",
        help="the video (.mp4, .mov, .m4v or .mkv); the contact sheet has the same name and .png",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the two files and names them."""
    from talkface_jax.data import preview

    folder = args.out.absolute().parent
    runtime.require_folder(folder, flag="--out")
    folder.mkdir(parents=True, exist_ok=True)
    with common.progress_bars() as progress:
        made = preview.write_preview(args.data, clip=args.clip, out=args.out, progress=progress)
    common.console().print(str(made), soft_wrap=True, markup=False)
    return 0
