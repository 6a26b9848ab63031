"""`talkface evaluate`: numbers with the baselines that they must be read against."""

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from talkface_jax import api, runtime
from talkface_jax.cli import common
from talkface_jax.errors import FaceError

if TYPE_CHECKING:
    from talkface_jax.evaluate.blinks import BlinkReport

HELP = "score landmarks or mp4s against the truth and trivial baselines"
DESCRIPTION = """\
Two ways in, one report out (scores.json and report.html):

  --bundle --data [--split] [--train-data]
      the landmarks that a bundle predicts for a prepared split, against the
      tracked ones; nothing is rendered
  --pred --truth [--bundle] [--face]
      two folders of mp4s, matched by name; both are tracked anew. With
      --bundle, the shifted-audio and no-audio rows are synthesized too

Every table has a ground-truth row, a static mouth, audio shifted by 10 frames,
for our models no audio, the tracker's own noise, intervals over clips, and the
failures. Of a method that makes blinks of its own, --data also compares these
with the tracked ones (blinks.json and blinks.html).
"""
EPILOG = """\
examples:
  talkface evaluate --bundle=out/bundle --data=out/data --out=out/scores_motion
  talkface evaluate --pred=out/pred --truth=out/truth --out=out/scores
  talkface evaluate --pred=out/pred --truth=out/truth --bundle=out/bundle \\
    --face=speaker --out=out/scores_with_baselines
"""
EXTRAS = ("evaluate",)
_SPLIT = "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="folder of the report"
    )
    parser.add_argument("--bundle", type=pathlib.Path, metavar="DIR", help="from talkface export")
    landmarks = parser.add_argument_group("with a prepared data set")
    landmarks.add_argument("--data", metavar="DIR", help="from talkface prepare; needs --bundle")
    landmarks.add_argument("--split", metavar="NAME", help=f"of --data (default: {_SPLIT})")
    landmarks.add_argument(
        "--train-data",
        metavar="DIR",
        help="prepared set that the baselines may know, by its train split (default: --data)",
    )
    videos = parser.add_argument_group("with mp4s")
    videos.add_argument(
        "--pred", type=pathlib.Path, metavar="DIR", help="generated mp4s; needs --truth"
    )
    videos.add_argument("--truth", type=pathlib.Path, metavar="DIR", help="true mp4s, same names")
    videos.add_argument(
        "--face",
        metavar="WHICH",
        help="where there are several faces: speaker, largest, or an index from the left",
    )


def run(args: argparse.Namespace) -> int:
    """Scores and writes the report; prints the table."""
    videos = args.pred is not None or args.truth is not None
    if wrong := _wrong_flags(args, videos=videos):
        args.parser.error(wrong)
    runtime.enable_compilation_cache()
    scores = _score_videos(args) if videos else _score_landmarks(args)
    from talkface_jax.evaluate import report

    out = common.console()
    out.print(report.table(scores))
    for failure in scores.failures:
        out.print(f"failed: {failure.clip} ({failure.row}): {failure.reason}", soft_wrap=True)
    out.print(f"{args.out / 'scores.json'}\n{args.out / 'report.html'}", soft_wrap=True)
    return 0


def _wrong_flags(args: argparse.Namespace, *, videos: bool) -> str:
    """What is missing, or is of the other way in; "" where the flags fit."""
    if videos:
        for flag in ("data", "split", "train-data"):
            if getattr(args, flag.replace("-", "_")) is not None:
                return f"--{flag} does not go with --pred and --truth"
        for flag, other in (("pred", "truth"), ("truth", "pred")):
            if getattr(args, flag) is None:
                return f"--{other} needs --{flag}=DIR"
        return ""
    if args.data is None and args.bundle is None:
        return "give --bundle and --data, or --pred and --truth"
    if args.data is None:
        return "--bundle needs --data=DIR, or --pred and --truth"
    if args.bundle is None:
        return "--data needs --bundle=DIR"
    return "" if args.face is None else "--face goes with --pred and --truth only"


def _score_landmarks(args: argparse.Namespace) -> Any:
    with common.progress_bars() as progress:
        found = api.evaluate_landmarks(
            args.bundle,
            data=args.data,
            out=args.out,
            split=args.split or _SPLIT,
            train_data=args.train_data,
            command=args.command_line,
            progress=progress,
        )
    if found.no_blinks:
        text = f"blinks were not compared: {found.no_blinks}"
        common.console().print(text, soft_wrap=True)
    if found.blinks is not None:
        _print_blinks(found.blinks, args.out)
    return found.scores


def _print_blinks(found: "BlinkReport", folder: pathlib.Path) -> None:
    from talkface_jax.evaluate import blinks

    out, made = common.console(), found.sequences
    model, constant = (found.comparisons[name] for name in (blinks.MODEL, blinks.CONSTANT))
    verdict = "" if found.nearer else "not shown to be "
    out.print(
        f"blinks, {made.clips} sequences of {found.sequence_seconds:g} s: {made.rate:.2f} a "
        f"second, {made.duration:.2f} s each, intervals vary by {made.interval_deviation:.2f} s; "
        f"distance from the tracked clips {model.distance.value:.3f} (p = {model.p_value:.3f}), of "
        f"a constant blinker {constant.distance.value:.3f} (p = {constant.p_value:.3f}), greater "
        f"by {found.difference.value:.3f} [{found.difference.low:.3f}, "
        f"{found.difference.high:.3f}]: {verdict}nearer",
        soft_wrap=True,
    )
    out.print(f"{folder / 'blinks.html'}", soft_wrap=True)


def _score_videos(args: argparse.Namespace) -> Any:
    try:
        with common.progress_bars() as progress:
            return api.evaluate_videos(
                args.pred,
                truth=args.truth,
                out=args.out,
                bundle=args.bundle,
                face=args.face,
                command=args.command_line,
                progress=progress,
            )
    except FaceError as error:
        # Synthesis knows the choice by its own command's flag.
        raise FaceError(str(error).replace("--face-choice=", "--face=")) from error
