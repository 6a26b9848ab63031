"""`talkface synthesize`: a face and a recording, or a driving video, become a talking mp4."""

import argparse
import pathlib

from talkface_jax import api, runtime
from talkface_jax.capabilities import Control
from talkface_jax.cli import common, export
from talkface_jax.errors import ConfigError

HELP = "a face and a recording, or a driving video -> a talking mp4"
DESCRIPTION = """\
Makes the face speak the recording. A video keeps its head motion; a single
image works too, its pose held. Audio longer than the video plays it forwards
and backwards. Frames without a face pass through untouched.

Of a method that follows a video (emoconv), --driver takes the place of the
recording: one frame of the face moves as the driver's face does, from where
the driver looks most like it; a recording beside it becomes the sound.

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
  talkface synthesize --motion-workdir=out/motion --render-workdir=out/render \\
    --face=speaker.mp4 --audio=sentence.wav --out=out/talking.mp4
  talkface synthesize --bundle=out/sinha2020/bundle --face=portrait.jpg \\
    --audio=sentence.wav --blink=0.3 --seed=1 --out=out/talking.mp4
  talkface synthesize --bundle=out/emoconv/bundle --face=portrait.jpg \\
    --driver=speaker.mp4 --out=out/following.mp4
"""
EXTRAS = ("synthesize",)

_CONTROL = "control_"
"""Before the name of a control among the arguments: a method may name it as it likes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    for flag, text in (
        ("--face", "a video or an image"),
        ("--audio", "a recording (any format)"),
        ("--driver", "in its place, the video whose face is followed"),
        ("--out", "the mp4 to write"),
    ):
        needed = flag in ("--face", "--out")
        parser.add_argument(flag, required=needed, type=pathlib.Path, metavar="FILE", help=text)
    parser.add_argument("--bundle", type=pathlib.Path, metavar="DIR", help="from talkface export")
    parser.add_argument(
        "--face-choice",
        metavar="WHICH",
        help="where there are several faces: speaker, largest, or an index from the left",
    )
    parser.add_argument("--driver-choice", metavar="WHICH", help="the same of the driving video")
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
        parser,
        title="instead of --bundle, working directories of every stage of one method",
        # A control may have the name of a stage, as --blink.
        suffix="-workdir",
    )
    _add_controls(parser)


def _flags() -> dict[str, list[Control]]:
    """The controls of all methods by name; which of one name is meant, the bundle's method says."""
    from talkface_jax.methods import registry

    found: dict[str, list[Control]] = {}
    for item in registry.methods().values():
        for control in item.controls:
            found.setdefault(control.name, []).append(control)
    return found


def _add_controls(parser: argparse.ArgumentParser) -> None:
    """A flag for every control that some method declares, below who takes which.

    Raises:
      ValueError: a control that has the name of a flag of this command.
    """
    from talkface_jax.methods import registry

    taken = [
        f"{name} takes {' '.join(control.flag for control in item.controls) or 'none'}"
        for name, item in registry.methods().items()
    ]
    group = parser.add_argument_group("controls", "\n".join(taken))
    for name, (control, *_) in _flags().items():
        text, place = control.help.replace("%", "%%"), f"{_CONTROL}{name}"
        try:
            group.add_argument(control.flag, dest=place, metavar=control.metavar, help=text)
        except argparse.ArgumentError as error:
            raise ValueError(
                f"a method declares a control {name!r}, but {error}; rename it"
            ) from error


def _controls(args: argparse.Namespace) -> dict[str, str]:
    """The texts of the controls that were given, for the bundle's method to read.

    Raises:
      ConfigError: one that no method takes.
    """
    texts = {name: getattr(args, f"{_CONTROL}{name}") for name in _flags()}
    given = {name: text for name, text in texts.items() if text is not None}
    for name, text in given.items():
        refusals = []
        for control in _flags()[name]:
            try:
                control.read(text)
                break
            except ConfigError as error:
                refusals.append(error)
        else:
            raise refusals[0]
    return given


def run(args: argparse.Namespace) -> int:
    """Synthesizes; prints the path and what was passed through."""
    stages = export.given_stages(args)
    if bool(args.bundle) == bool(stages):
        args.parser.error("give either --bundle=DIR, or the working directory of every stage")
    if args.audio is None and args.driver is None:
        args.parser.error("give --audio=FILE, or --driver=FILE of a method that follows a video")
    runtime.enable_compilation_cache()
    runtime.keep_heap_flat()
    controls = _controls(args)
    with common.progress_bars() as progress:
        report = api.synthesize(
            args.bundle or stages,
            face=args.face,
            audio=args.audio,
            out=args.out,
            driver=args.driver,
            face_choice=args.face_choice,
            driver_choice=args.driver_choice,
            mark=args.mark,
            batch=args.batch,
            controls=controls,
            progress=progress,
        )
    common.console().print(str(report), soft_wrap=True)
    return 0
