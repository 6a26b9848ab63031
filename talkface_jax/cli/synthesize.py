"""`talkface synthesize`: a face and a recording become a talking mp4."""

import argparse
import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator

from talkface_jax.cli import common, export

HELP = "a face and a recording -> a talking mp4"
DESCRIPTION = """\
Makes the face speak the recording. A video gives head pose and references; a
single image works too, its pose held. Audio longer than the video plays it
forwards and backwards. Frames without a face pass through untouched.

The networks come from a bundle, or straight from the working directories of
all stages (of `talkface train` or `talkface convert`), which are exported to
a bundle that is thrown away afterwards.

The result carries a visible mark and says in its metadata that it is
generated, by which weights and from which files.
"""
EPILOG = """\
examples:
  talkface synthesize --bundle=out/bundle --face=speaker.mp4 \\
    --audio=sentence.wav --out=out/talking.mp4
  talkface synthesize --motion=out/motion --render=out/render \\
    --face=speaker.mp4 --audio=sentence.wav --out=out/talking.mp4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--bundle", type=pathlib.Path, help="from talkface export")
    export.add_stage_arguments(parser, prefix="instead of --bundle: ")
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
    controls = parser.add_argument_group("controls of methods that make blinks")
    controls.add_argument(
        "--blink-rate", type=float, help="blinks a second (default: as the network makes them)"
    )
    controls.add_argument("--blink-duration", type=float, help="seconds of one blink (likewise)")
    controls.add_argument("--seed", type=common.at_least(0), help="of all that is drawn")


@contextlib.contextmanager
def _bundle(args: argparse.Namespace) -> Iterator[pathlib.Path]:
    """The bundle that was given, or one of the working directories that lasts for the block."""
    if args.bundle:
        yield args.bundle
        return
    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        bundle = pathlib.Path(folder) / "bundle"
        export.export_stages(export.given_stages(args), bundle)
        yield bundle


def run(args: argparse.Namespace) -> int:
    """Synthesizes; prints the path and what was passed through."""
    if bool(args.bundle) == bool(export.given_stages(args)):
        args.parser.error("give either --bundle=DIR, or the working directory of every stage")
    from talkface_jax import runtime

    runtime.enable_compilation_cache()
    runtime.keep_heap_flat()
    from talkface_jax.records import Controls
    from talkface_jax.synthesize import run as engine

    request = engine.SynthesisRequest(
        bundle=args.bundle or pathlib.Path(),
        face=args.face,
        audio=args.audio,
        out=args.out,
        face_choice=args.face_choice,
        references=args.references,
        mark=args.mark,
        batch=args.batch,
        controls=Controls(
            blink_rate=args.blink_rate, blink_duration=args.blink_duration, seed=args.seed
        ),
    )
    # Before an export that takes seconds.
    engine.check_request(request)
    with _bundle(args) as bundle, common.progress_bars() as progress:
        report = engine.synthesize(dataclasses.replace(request, bundle=bundle), progress=progress)
    common.console().print(str(report), soft_wrap=True)
    return 0
