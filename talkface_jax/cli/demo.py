"""`talkface demo`: the whole road on data that it makes itself."""

import argparse
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from talkface_jax import runtime
from talkface_jax.capabilities import Aspect, Declaration, Driven
from talkface_jax.cli import common, demo_emotion, demo_follow
from talkface_jax.cli.walk import Walk, strip_of, write_metadata
from talkface_jax.errors import TalkfaceError

HELP = "walk the whole road on synthetic speakers: raw video to talking mp4"
DESCRIPTION = """\
Makes synthetic talking heads, prepares them, trains every stage, exports a
bundle, lets held-out people speak held-out sentences (or, of a method that a
video drives, pictures of them follow it), and scores the result against the
truth and against trivial baselines. Every step is a talkface
command, printed as it runs; a stopped demo continues where it was, and a second
method finds the data prepared.

On two cores iplap takes 9 to 15 minutes, sinha2020 14 to 20 and sinha2022,
which also says a sentence in eight emotions, about 18 where another method has
prepared the data. The configs are those of the checkout: run it there, or with
the checkout installed (pip install -e). The exit status is 1 where a goal is
missed.
"""
EPILOG = """\
examples:
  talkface demo --out=out/demo
  talkface demo --out=out/demo --method=sinha2020
  talkface demo --out=out/demo --method=sinha2022
"""
EXTRAS = ("demo",)
CLIPS, TEST_CLIPS, SEED = 80, 32, 0
SHOWN = 4
BLINK_CLIPS, BLINK_SEED = 64, 11
"""The settings of the blink stage were chosen on the demo's own test clips, so these judge it; half
as many hold too few intervals between blinks to tell it from a metronome."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    from talkface_jax.methods import registry

    parser.add_argument(
        "--method", default="iplap", choices=tuple(registry.methods()), help="default: iplap"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("out/demo"), help="default: out/demo"
    )
    parser.add_argument(
        "--workers",
        type=common.at_least(1),
        default=os.cpu_count() or 1,
        help="processes of the preparation and of the scorer (default: one per core)",
    )


def _held_out(raw: pathlib.Path, count: int) -> list[dict]:
    """`count` test clips, speakers in turn, emotional and neutral mixed."""
    clips = json.loads((raw / "metadata.json").read_text())["clips"]
    by_speaker: dict[str, list[dict]] = {}
    for clip in clips:
        if clip["split"] == "test":
            by_speaker.setdefault(clip["actor"], []).append(clip)
    turns = [
        items[turn % len(items)]
        for turn in range(count)
        for items in [list(by_speaker.values())[turn % len(by_speaker)]]
    ]
    return turns


def run(args: argparse.Namespace) -> int:
    """Walks the road; prints where the results lie and the table.

    Raises:
      TalkfaceError: the configs are not there, a command failed, or a goal was missed.
    """
    from talkface_jax.methods import registry

    runtime.require_folder(args.out, flag="--out")
    method = registry.declaration(args.method)
    configs = find_configs(args.method, tuple(method.stages))
    # The data are the same for every method.
    data, out, walk = args.out / "data", args.out / args.method, Walk()
    bundle = out / "bundle"
    with walk.timed("prepare: make, track and shard talking heads"):
        _prepare(walk, data, clips=(CLIPS, TEST_CLIPS), seed=SEED, workers=args.workers)
    _train(walk, {stage: configs / f"{stage}.py" for stage in method.stages}, data, out)
    # The stage that draws the picture comes last; untrained, it is what its training must beat.
    untrained, renderer = out / "bundle_untrained", method.chained[-1]
    with walk.timed("export: one bundle of all stages, and one whose renderer is untrained"):
        stages = [f"--{stage}={out / stage}" for stage in method.chained]
        walk.command("export", *stages, f"--out={bundle}")
        walk.command("export", *stages, f"--untrained={renderer}", f"--out={untrained}")
    if Driven.AUDIO in method.driven_by:
        shown = _speak(walk, args, method, bundle=bundle, untrained=untrained)
    else:
        shown = demo_follow.show(
            walk,
            _held_out(data / "raw", demo_follow.SHOWN),
            raw=data / "raw",
            out=out,
            bundle=bundle,
            untrained=untrained,
            workers=args.workers,
        )
    verdicts = _judge(walk, out, method)
    _summary(walk, shown)
    require_met(verdicts, out)
    return 0


def _speak(
    walk: Walk,
    args: argparse.Namespace,
    method: Declaration,
    *,
    bundle: pathlib.Path,
    untrained: pathlib.Path,
) -> dict[pathlib.Path, str]:
    """Held-out people speak, and all that the method declares is measured; what to look at."""
    import shutil

    data, out = args.out / "data", args.out / args.method
    pairs, raw = out / "held_out", data / "raw"
    with walk.timed("synthesize: held-out people speak held-out sentences"):
        clips = _held_out(raw, SHOWN)
        for folder in ("truth", "pred", "untrained"):
            (pairs / folder).mkdir(parents=True, exist_ok=True)
        write_metadata(clips, pairs / "clips.csv")
        for clip in clips:
            name = f"{clip['clip']}.mp4"
            truth, voice = pairs / "truth" / name, raw / clip["audio"]
            shutil.copyfile(raw / clip["video"], truth)
            walk.synthesize(bundle, truth, voice, pairs / "pred" / name)
            walk.synthesize(untrained, truth, voice, pairs / "untrained" / name)
        # The show-piece: one person's video with a sentence that another one says.
        mp4 = out / "talking.mp4"
        walk.synthesize(bundle, raw / clips[0]["video"], raw / clips[1]["audio"], mp4)
    with walk.timed("evaluate: landmarks of all held-out clips"):
        walk.command(
            "evaluate", f"--bundle={bundle}", f"--data={data}", f"--out={out / 'scores_motion'}"
        )
    with walk.timed("evaluate: the rendered mp4s, tracked again"):
        _score_videos(walk, pairs, bundle=bundle, out=out / "scores_video", workers=args.workers)
    if Aspect.BLINKS in method.generates:
        _judge_blinks(walk, args, method, bundle=bundle, out=out)
    more = {}
    if Aspect.EMOTION in method.generates:
        more = demo_emotion.show(
            walk, method, bundle=bundle, raw=raw, out=out, workers=args.workers
        )
    return {
        mp4: "a held-out face speaking a sentence that it never saw",
        strip_of(mp4, out / "talking_strip.png"): "its frames",
        out / "scores_motion" / "report.html": "table 1, curves",
        out / "scores_video" / "report.html": "table 2, frames beside the truth",
        **more,
    }


def _score_videos(
    walk: Walk, pairs: pathlib.Path, *, bundle: pathlib.Path, out: pathlib.Path, workers: int
) -> None:
    walk.command(
        "evaluate",
        f"--pred=model={pairs / 'pred'}",
        f"--pred=untrained={pairs / 'untrained'}",
        f"--truth={pairs / 'truth'}",
        f"--metadata={pairs / 'clips.csv'}",
        f"--bundle={bundle}",
        f"--workers={workers}",
        f"--out={out}",
    )


def _prepare(
    walk: Walk, out: pathlib.Path, *, clips: tuple[int, int], seed: int, workers: int
) -> None:
    """Synthetic speakers: so many clips to train on, and so many to test on."""
    walk.command(
        "prepare",
        "--dataset=synthetic",
        f"--clips={clips[0]}",
        f"--test-clips={clips[1]}",
        f"--seed={seed}",
        f"--workers={workers}",
        f"--max-failures={sum(clips) // 20}",
        f"--out={out}",
    )


def _judge_blinks(
    walk: Walk,
    args: argparse.Namespace,
    method: Declaration,
    *,
    bundle: pathlib.Path,
    out: pathlib.Path,
) -> None:
    """Generated blinks against those of clips that are made for this alone."""
    # What was measured on the clips of the demo need not be measured again.
    others = ["--without=table"]
    if Aspect.EMOTION in method.generates:
        others.append(f"--without={Aspect.EMOTION.value}")
    other = args.out / "data_blinks"
    with walk.timed("prepare: other clips, to judge the blinks by"):
        _prepare(walk, other, clips=(1, BLINK_CLIPS), seed=BLINK_SEED, workers=args.workers)
    with walk.timed("evaluate: blinks"):
        walk.command(
            "evaluate",
            f"--bundle={bundle}",
            f"--data={other}",
            f"--train-data={args.out / 'data'}",
            *others,
            f"--out={out / 'scores_blinks'}",
        )


def _train(
    walk: Walk, configs: Mapping[str, pathlib.Path], data: pathlib.Path, out: pathlib.Path
) -> None:
    for stage, config in configs.items():
        with walk.timed(f"train: {stage} stage"):
            walk.command(
                "train",
                f"--config={config}:tiny",
                f"--workdir={out / stage}",
                f"--config.data.directory={data}",
            )


def find_configs(method: str, stages: Sequence[str]) -> pathlib.Path:
    """The folder of a method's configs: that of the working directory, or of this checkout.

    Raises:
      TalkfaceError: a stage has none in either.
    """
    here = pathlib.Path("configs", method)
    for folder in (here, pathlib.Path(__file__).parents[2] / here):
        if all((folder / f"{stage}.py").is_file() for stage in stages):
            return folder
    raise TalkfaceError(
        f"{here} does not hold the configs of {', '.join(stages)}; run the demo in the checkout, "
        "or install the checkout with pip install -e"
    )


def require_met(verdicts: Sequence[Any], out: pathlib.Path) -> None:
    """Makes a missed goal the demo's exit status.

    Args:
      verdicts: of `evaluate.goals.judge`.
      out: the method's folder of the demo.

    Raises:
      TalkfaceError: a goal was missed; they are named.
    """
    if missed := [f'"{item.goal.what}"' for item in verdicts if not item.met]:
        raise TalkfaceError(
            f"{len(missed)} of {len(verdicts)} goals were missed, {', '.join(missed)}; look at "
            f"the reports in {out}, or repeat the demo into another --out"
        )


def _judge(walk: Walk, out: pathlib.Path, method: Declaration) -> list[Any]:
    """Prints which goals were met; gives the verdicts."""
    from talkface_jax.evaluate import goals

    verdicts = goals.judge(method.goals, out)
    walk.console.print("\n[bold]Goals[/bold]")
    for verdict in verdicts:
        walk.console.print(f"  {verdict}", soft_wrap=True)
    return verdicts


def _summary(walk: Walk, shown: Mapping[pathlib.Path, str]) -> None:
    """Times, and paths with what they show."""
    print_ = walk.console.print
    print_("\n[bold]Where the time went[/bold]")
    for title, seconds in walk.seconds.items():
        print_(f"  {seconds:7.1f} s  {title}")
    print_(f"  {sum(walk.seconds.values()):7.1f} s  in all")
    print_("\n[bold]Look at[/bold]", soft_wrap=True)
    for path, text in shown.items():
        print_(f"  {path}   {text}", soft_wrap=True)
