"""`talkface evaluate`: numbers with the baselines that they must be read against."""

import argparse
import pathlib
import tempfile
from typing import Any

from talkface_jax.cli import common
from talkface_jax.errors import FaceError, RecordError

HELP = "score landmarks or mp4s against the truth and trivial baselines"
DESCRIPTION = """\
Two ways in, one report out (scores.json and report.html):

  --bundle --data [--split]
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
    common.require_folder(args.out, flag="--out")
    from talkface_jax import runtime
    from talkface_jax.media import faces

    # Before rows are synthesized, which takes minutes.
    faces.check_choice(args.face)

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
        for flag in ("data", "split"):
            if getattr(args, flag) is not None:
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
    from talkface_jax.data.pipeline import open_dataset
    from talkface_jax.evaluate import landmarks, report, shards
    from talkface_jax.evaluate.scores import require_predictions
    from talkface_jax.export.load import load_bundle
    from talkface_jax.synthesize.run import build_chain

    bundle = load_bundle(args.bundle)
    chain: Any = build_chain(bundle)
    failures: list[Any] = []
    split = args.split or _SPLIT
    dataset = open_dataset(args.data, split)
    with common.progress_bars() as progress:
        scores = landmarks.evaluate_motion(
            shards.motion_cases(dataset, chain, failures=failures, progress=progress),
            failures=failures,
            command=args.command_line,
            notes={
                "bundle": bundle.manifest.weight_id,
                "data": f"{args.data}, {split}",
                "unit of the intervals": "segments of at most 125 frames",
            },
        )
    require_predictions(
        scores.clips,
        failures=scores.failures,
        noun="segment",
        remedy="give a --data and --split with faces",
    )
    report.write_report(scores, args.out)
    if chain.blinks(1, seed=0) is not None:
        _score_blinks(args, chain, dataset)
    return scores


def _score_blinks(args: argparse.Namespace, chain: Any, dataset: Any) -> None:
    """Blinks that the bundle makes from noise, against the tracked ones of the split."""
    from talkface_jax.data.pipeline import open_dataset
    from talkface_jax.evaluate import blink_page, blinks, shards

    for name in ("blinks.json", "blinks.html"):
        (args.out / name).unlink(missing_ok=True)
    # The baseline knows the training data, as the network does.
    splits = {shard.split for shard in dataset.manifest.shards}
    known = open_dataset(args.data, "train") if "train" in splits else dataset
    out = common.console()
    with common.progress_bars() as progress:
        progress("make and measure blinks", 0, 1)
        try:
            found = blinks.evaluate_blinks(
                lambda seed, frames: chain.blinks(frames, seed=seed),
                shards.blink_curves(dataset),
                constant=blinks.ConstantBlinker.of(shards.blink_curves(known)),
            )
        except RecordError as error:
            out.print(f"blinks were not compared: {error}", soft_wrap=True)
            return
        blink_page.write_report(found, args.out)
        progress("make and measure blinks", 1, 1)
    made = found.sequences
    out.print(
        f"blinks, {made.clips} sequences of {found.sequence_seconds:g} s: {made.rate:.2f} a "
        f"second, {made.duration:.2f} s each; two-sample test against the tracked clips: model p = "
        f"{found.comparisons[blinks.MODEL].p_value:.3f}, constant interval p = "
        f"{found.comparisons[blinks.CONSTANT].p_value:.3f}",
        soft_wrap=True,
    )
    out.print(f"{args.out / 'blinks.html'}", soft_wrap=True)


def _score_videos(args: argparse.Namespace) -> Any:
    from talkface_jax.evaluate.benchmark import benchmark

    with common.progress_bars() as progress, tempfile.TemporaryDirectory() as scratch:
        rows = {}
        if args.bundle is not None:
            rows = _synthesize_rows(args, pathlib.Path(scratch), progress)
        return benchmark(
            args.pred,
            args.truth,
            args.out,
            rows=rows,
            face=args.face,
            command=args.command_line,
            progress=progress,
        )


def _synthesize_rows(
    args: argparse.Namespace, scratch: pathlib.Path, progress: common.Progress
) -> dict[str, pathlib.Path]:
    """What the bundle makes of the true videos with their sound shifted, and with silence."""
    import numpy as np

    from talkface_jax.evaluate import scores
    from talkface_jax.evaluate.pairs import find_videos
    from talkface_jax.evaluate.shards import rows_of_samples
    from talkface_jax.media.audio import read_clip_audio, write_wav
    from talkface_jax.media.video import open_video
    from talkface_jax.synthesize import run as engine

    rows = {name: scratch / name for name in (scores.SHIFTED_AUDIO, scores.NO_AUDIO)}
    truths = find_videos(args.truth)
    for done, (clip, truth) in enumerate(truths.items(), 1):
        with open_video(truth) as video:
            samples = read_clip_audio(truth, None, len(video))
        for name, heard in rows_of_samples(np.asarray(samples, np.float32)).items():
            if name not in rows:
                continue
            out = rows[name] / f"{clip}.mp4"
            out.parent.mkdir(parents=True, exist_ok=True)
            wav = scratch / "heard.wav"
            write_wav(wav, heard)
            request = engine.SynthesisRequest(
                bundle=args.bundle, face=truth, audio=wav, out=out, face_choice=args.face
            )
            try:
                engine.synthesize(request)
            except FaceError as error:
                # Synthesis knows the choice by its own command's flag.
                raise FaceError(str(error).replace("--face-choice=", "--face=")) from error
        progress("synthesize baseline rows", done, len(truths))
    return rows
