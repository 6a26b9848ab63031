"""`talkface synthesize`: a face and a recording become a talking mp4."""

import argparse
import pathlib

from talkface_jax.cli import common

HELP = "a face and a recording -> a talking mp4"
DESCRIPTION = """\
Makes the face speak the recording. A video gives head pose and references; a
single image works too, its pose held. Audio longer than the video plays it
forwards and backwards. Frames without a face pass through untouched.

The result carries a visible mark and says in its metadata that it is
generated, by which weights and from which files.
"""
EPILOG = """\
example:
  talkface synthesize --bundle=out/bundle --face=speaker.mp4 \\
    --audio=sentence.wav --out=out/talking.mp4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--bundle", required=True, type=pathlib.Path, help="from talkface export")
    parser.add_argument("--face", required=True, type=pathlib.Path, help="a video or an image")
    parser.add_argument(
        "--audio", required=True, type=pathlib.Path, help="a recording (any format)"
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the mp4 to write")
    parser.add_argument(
        "--face-choice",
        metavar="WHICH",
        help="where there are several faces: speaker, largest, or an index from the left",
    )
    parser.add_argument(
        "--references",
        type=common.at_least(1),
        help="reference frames (default: the config's)",
    )
    parser.add_argument(
        "--mark",
        default="visible",
        choices=("visible", "invisible", "both"),
        help="how the frames are marked as generated (default: visible)",
    )
    parser.add_argument(
        "--batch", type=common.at_least(1), default=8, help="frames rendered at a time (default: 8)"
    )


def run(args: argparse.Namespace) -> int:
    """Synthesizes; prints the path and what was passed through."""
    from talkface_jax import runtime

    runtime.enable_compilation_cache()
    runtime.keep_heap_flat()
    from talkface_jax.synthesize import run as engine

    request = engine.SynthesisRequest(
        bundle=args.bundle,
        face=args.face,
        audio=args.audio,
        out=args.out,
        face_choice=args.face_choice,
        references=args.references,
        mark=args.mark,
        batch=args.batch,
    )
    with common.progress_bars() as progress:
        report = engine.synthesize(request, progress=progress)
    common.console().print(str(report), soft_wrap=True)
    return 0
