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
Makes the face speak the recording. A video keeps its head motion; a single
image works too, its pose held. iplap sees the person in several frames of the
video, sinha2020 in one. Audio longer than the video plays it forwards and
backwards. Frames without a face pass through untouched.

The networks come from a bundle, or straight from the working directories of
all stages (of `talkface train` or `talkface convert`), which are exported to
a bundle that is thrown away afterwards.

Every generated frame is marked, visibly unless --mark=invisible is given, and
the metadata says that the file is generated, by which weights and from which
files.
"""
EPILOG = """\
examples:
  talkface synthesize --bundle=out/bundle --face=speaker.mp4 \\
    --audio=sentence.wav --out=out/talking.mp4
  talkface synthesize --motion=out/motion --render=out/render \\
    --face=speaker.mp4 --audio=sentence.wav --out=out/talking.mp4
  talkface synthesize --bundle=out/sinha2020/bundle --face=portrait.jpg \\
    --audio=sentence.wav --blink-rate=0.3 --seed=1 --out=out/talking.mp4
"""
EXTRAS = ("synthesize",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    for flag, text in (
        ("--face", "a video or an image"),
        ("--audio", "a recording (any format)"),
        ("--out", "the mp4 to write"),
    ):
        parser.add_argument(flag, required=True, type=pathlib.Path, metavar="FILE", help=text)
    parser.add_argument("--bundle", type=pathlib.Path, metavar="DIR", help="from talkface export")
    parser.add_argument(
        "--face-choice",
        metavar="WHICH",
        help="where there are several faces: speaker, largest, or an index from the left",
    )
    parser.add_argument(
        "--references",
        type=common.at_least(1),
        metavar="N",
        help="frames in which iplap sees the person (default: the config's); "
        "sinha2020 takes one only",
    )
    parser.add_argument(
        "--mark",
        default="visible",
        choices=("visible", "invisible", "both"),
        help="how the frames are marked as generated (default: visible)",
    )
    parser.add_argument(
        "--batch",
        type=common.at_least(1),
        default=8,
        metavar="N",
        help="frames rendered at a time (default: 8)",
    )
    export.add_stage_arguments(
        parser, title="instead of --bundle, working directories of every stage of one method"
    )
    controls = parser.add_argument_group("blinks", "sinha2020 only: iplap leaves the eyes alone")
    controls.add_argument(
        "--blink-rate",
        type=float,
        metavar="X",
        help="blinks a second (default: as the network makes them)",
    )
    controls.add_argument(
        "--blink-duration",
        type=float,
        metavar="X",
        help="seconds that a blink lasts (default: as the network makes them)",
    )
    controls.add_argument(
        "--seed",
        type=common.at_least(0),
        metavar="N",
        help="another seed gives other blinks (default: 0)",
    )


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
