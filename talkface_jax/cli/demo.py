"""`talkface demo`: the whole road on data that it makes itself."""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

HELP = "walk the whole road on synthetic speakers: raw video to talking mp4"
DESCRIPTION = """\
Makes synthetic talking heads, prepares them, trains every stage, exports a
bundle, lets held-out people speak held-out sentences, and scores the result
against the truth and against trivial baselines. Every step is a talkface
command, printed as it runs; a stopped demo continues where it was, and a second
method finds the data prepared.

On two cores iplap takes about 14 minutes and sinha2020 about 16. The configs
are those of the checkout: run it there, or with the checkout installed
(pip install -e). The exit status is 1 where a goal is missed.
"""
EPILOG = """\
examples:
  talkface demo --out=out/demo
  talkface demo --out=out/demo --method=sinha2020
"""
EXTRAS = ("demo",)
CLIPS, TEST_CLIPS, SEED = 80, 32, 0
SHOWN = 4
MET, MISSED = "met    ", "MISSED "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    from talkface_jax.methods import registry

    parser.add_argument(
        "--method", default="iplap", choices=tuple(registry.METHODS), help="default: iplap"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("out/demo"), help="default: out/demo"
    )
    parser.add_argument(
        "--workers",
        type=common.at_least(1),
        default=os.cpu_count() or 1,
        help="processes of the preparation (default: one per core)",
    )


class Walk:
    """Runs the commands of the demo one after the other and remembers how long each took."""

    def __init__(self) -> None:
        """Starts the clock."""
        self.console = common.console()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Announces a step and times it."""
        self.console.print(f"\n[bold]{len(self.seconds) + 1}. {title}[/bold]")
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start

    def command(self, *arguments: str) -> None:
        """Prints a talkface command and runs it in this process.

        Raises:
          TalkfaceError: it failed; its own message has been printed.
        """
        from talkface_jax.cli.main import main

        self.console.print(f"$ talkface {shlex.join(arguments)}", style="cyan", soft_wrap=True)
        if status := main(list(arguments)):
            raise TalkfaceError(f"`talkface {arguments[0]}` failed with status {status}; see above")


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
    import shutil

    from talkface_jax.methods import registry

    common.require_folder(args.out, flag="--out")
    method = registry.get_method(args.method)
    configs = find_configs(args.method, method.stages)
    # The data are the same for every method.
    data, out, walk = args.out / "data", args.out / args.method, Walk()
    bundle = out / "bundle"
    with walk.timed("prepare: make, track and shard talking heads"):
        walk.command(
            "prepare",
            "--dataset=synthetic",
            f"--clips={CLIPS}",
            f"--test-clips={TEST_CLIPS}",
            f"--seed={SEED}",
            f"--workers={args.workers}",
            f"--max-failures={CLIPS // 20}",
            f"--out={data}",
        )
    _train(walk, {stage: configs / f"{stage}.py" for stage in method.stages}, data, out)
    with walk.timed("export: one bundle of all stages"):
        stages = [f"--{stage}={out / stage}" for stage in method.stages]
        walk.command("export", *stages, f"--out={bundle}")
    pairs = out / "held_out"
    with walk.timed("synthesize: held-out people speak held-out sentences"):
        clips = _held_out(data / "raw", SHOWN)
        for clip in clips:
            name = f"{clip['clip']}.mp4"
            truth = pairs / "truth" / name
            for folder in (truth.parent, pairs / "pred"):
                folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / "raw" / clip["video"], truth)
            _synthesize(walk, bundle, truth, data / "raw" / clip["audio"], pairs / "pred" / name)
        # The show-piece: one person's video with a sentence that another one says.
        face, voice = clips[0], clips[1]
        mp4 = out / "talking.mp4"
        _synthesize(walk, bundle, data / "raw" / face["video"], data / "raw" / voice["audio"], mp4)
    with walk.timed("evaluate: landmarks of all held-out clips"):
        walk.command(
            "evaluate", f"--bundle={bundle}", f"--data={data}", f"--out={out / 'scores_motion'}"
        )
    with walk.timed("evaluate: the rendered mp4s, tracked again"):
        folders = [f"--pred={pairs / 'pred'}", f"--truth={pairs / 'truth'}"]
        walk.command("evaluate", *folders, f"--bundle={bundle}", f"--out={out / 'scores_video'}")
    lines = _judge(walk, out, method)
    _summary(walk, out, mp4, _strip(mp4, out / "talking_strip.png"))
    require_met(lines, out)
    return 0


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


def require_met(lines: Sequence[str], out: pathlib.Path) -> None:
    """Makes a missed goal the demo's exit status.

    Args:
      lines: those of `goals` and `blink_goals`.
      out: the method's folder of the demo.

    Raises:
      TalkfaceError: a goal was missed; they are named.
    """
    missed = [
        f'"{line.removeprefix(MISSED).partition(":")[0]}"'
        for line in lines
        if line.startswith(MISSED)
    ]
    if missed:
        raise TalkfaceError(
            f"{len(missed)} of {len(lines)} goals were missed, {', '.join(missed)}; look at "
            f"{out / 'scores_motion' / 'report.html'}, or repeat the demo into another --out"
        )


def _judge(walk: Walk, out: pathlib.Path, method: Any) -> list[str]:
    """Prints which goals were met; gives the lines."""
    lines = goals(out, method.goals)
    if "blink_rate" in method.controls:
        lines += blink_goals(out / "scores_motion" / "blinks.json")
    walk.console.print("\n[bold]Goals[/bold]")
    for line in lines:
        walk.console.print(f"  {line}", soft_wrap=True)
    return lines


def _synthesize(
    walk: Walk, bundle: pathlib.Path, face: pathlib.Path, audio: pathlib.Path, out: pathlib.Path
) -> None:
    arguments = (f"--bundle={bundle}", f"--face={face}", f"--audio={audio}", f"--out={out}")
    walk.command("synthesize", *arguments)


def goals(out: pathlib.Path, wanted: Any) -> list[str]:
    """One line per goal of the demo: what was reached, what was wanted, met or missed.

    The first table is of predicted landmarks, the second of rendered videos, tracked again. Ratios
    are of the lip distance and count as met only where the two rows' intervals do not overlap.

    Args:
      out: the method's folder of the demo.
      wanted: the method's `task.Goals`.
    """
    motion, video = (
        json.loads((out / name / "scores.json").read_text())["rows"]
        for name in ("scores_motion", "scores_video")
    )

    def value(rows: dict, row: str, metric: str, end: str = "value") -> float:
        return rows[row]["metrics"][metric][end]

    lines = []

    def add(what: str, reached: float, wanted: str, met: bool) -> None:
        lines.append(f"{MET if met else MISSED}{what}: {reached:.2f} (wanted {wanted})")

    high = value(motion, "model", "lip_distance", "high")
    rows = {
        "static-mouth": wanted.static,
        "shifted-audio": wanted.shifted,
        "no-audio": wanted.no_audio,
    }
    for row, most in rows.items():
        if most is None:
            continue
        ratio = value(motion, "model", "lip_distance") / value(motion, row, "lip_distance")
        apart = high < value(motion, row, "lip_distance", "low")
        add(f"lips, model / {row}", ratio, f"<= {most}, intervals apart", ratio <= most and apart)
    found = value(motion, "model", "opening_correlation")
    least = wanted.correlation
    add("mouth-opening correlation", found, f">= {least}", found >= least)
    found = value(motion, "shifted-audio", "opening_correlation")
    most = wanted.shifted_correlation
    add("the same with shifted audio", found, f"<= {most}", found <= most)
    found = value(motion, "model", "lag")
    add("lag in frames", found, f"within {wanted.lag:g}", abs(found) <= wanted.lag)
    found = value(motion, "model", "deviation")
    least = wanted.deviation
    add("opening deviation, predicted / true", found, f">= {least}", found >= least)
    rendered = {
        "opening_correlation": wanted.video_correlation,
        "deviation": wanted.video_deviation,
    }
    for metric, least in rendered.items():
        found = value(video, "model", metric)
        add(f"rendered mp4s, {metric.replace('_', ' ')}", found, f">= {least}", found >= least)
    return lines


def blink_goals(path: pathlib.Path) -> list[str]:
    """Lines like those of `goals`, of a method that makes blinks of its own."""
    if not path.is_file():
        return [f"{MISSED}blinks: they were not compared, {path} was not written"]
    from talkface_jax.evaluate import blinks

    report = json.loads(path.read_text())
    lines = []
    for what, key, (low, high) in (
        ("blinks a second", "rate", blinks.RATE_RANGE),
        ("seconds of a blink", "duration", blinks.DURATION_RANGE),
    ):
        found = report["sequences"][key]
        met = found is not None and low <= found <= high
        shown = "none" if found is None else f"{found:.2f}"
        lines.append(f"{MET if met else MISSED}{what}: {shown} (wanted {low} to {high})")
    shown = ", ".join(
        f"{name} {item['distance']['value']:.3f} (p = {item['p_value']:.3f})"
        for name, item in report["comparisons"].items()
    )
    met = MET if report["nearer"] else MISSED
    lines.append(
        f"{met}distance of the blinks from tracked ones: {shown} (wanted the model nearer)"
    )
    return lines


def _strip(mp4: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """A PNG of frames spread over the video."""
    import cv2
    import numpy as np

    from talkface_jax.media.video import open_video

    with open_video(mp4) as video:
        chosen = np.linspace(0, len(video) - 1, 10).round().astype(int)
        image = np.concatenate([video[int(index)] for index in chosen], 1)
    if not cv2.imwrite(str(out), image[..., ::-1]):
        raise TalkfaceError(f"{out} cannot be written; check the folder and the disk")
    return out


def _summary(walk: Walk, out: pathlib.Path, mp4: pathlib.Path, strip: pathlib.Path) -> None:
    """Times and paths."""
    print_ = walk.console.print
    print_("\n[bold]Where the time went[/bold]")
    for title, seconds in walk.seconds.items():
        print_(f"  {seconds:7.1f} s  {title}")
    print_(f"  {sum(walk.seconds.values()):7.1f} s  in all")
    print_("\n[bold]Look at[/bold]", soft_wrap=True)
    print_(f"  {mp4}   a held-out face speaking a sentence that it never saw", soft_wrap=True)
    print_(f"  {strip}   its frames", soft_wrap=True)
    print_(f"  {out / 'scores_motion' / 'report.html'}   table 1, curves", soft_wrap=True)
    print_(
        f"  {out / 'scores_video' / 'report.html'}   table 2, frames beside the truth",
        soft_wrap=True,
    )
