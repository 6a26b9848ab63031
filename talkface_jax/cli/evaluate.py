"""`talkface evaluate`: numbers with the baselines that they must be read against."""

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from talkface_jax import api, runtime
from talkface_jax.capabilities import Aspect
from talkface_jax.cli import common

if TYPE_CHECKING:
    from talkface_jax.evaluate.blinks import BlinkReport
    from talkface_jax.evaluate.emotions import EmotionReport

HELP = "score landmarks or mp4s against the truth and trivial baselines"
DESCRIPTION = """\
Two ways in, one report out (scores.json and report.html):

  --bundle --data [--split] [--train-data]
      the landmarks that a bundle predicts for a prepared split, against the
      tracked ones; nothing is rendered
  --pred --truth [--bundle] [--face]
      folders of mp4s, of any number of systems, in one table; all are tracked.
      With --bundle, the rows of shifted audio, of silence and of another
      speaker's sentence are synthesized too

and two reports side by side:

  --compare A/scores.json B/scores.json

Every table has a ground-truth row, a static mouth, audio shifted by 10 frames
(of mp4s without --bundle: the first system's own mouth of 10 frames later), for
a bundle silence and another speaker's sentence, the tracker's own noise,
intervals over speakers and clips, and the failures; that of landmarks also a
ridge regression fitted on the set's training split, and references from the
clip's other half. Of a method that makes blinks of its own, --data also
compares these with the tracked ones (blinks.json and blinks.html). One that
takes --emotion is asked for that of each labelled clip; one that is judged by
it is also asked for all others (emotions.json and emotions.html).

Where --metadata names the emotion of a clip, whether its tracked face reads as
that emotion, distances of landmarks and of their velocities (M-LD, F-LD, M-LVD,
F-LVD), and whether lips meet on p, b and m have a table of their own.

Predictions are found by the names of the true clips, and by what official
IP-LAP, SadTalker, Wav2Lip and others make of them; --match and --pairs say it
otherwise. Tracks are kept by the videos' content (--tracks), so that a further
system costs only its own.
"""
EPILOG = """\
examples:
  talkface evaluate --bundle=out/bundle --data=out/data --out=out/scores_motion
  talkface evaluate --pred=out/pred --truth=out/truth --out=out/scores
  talkface evaluate --pred=ours=out/pred --pred=wav2lip=w/results \\
    --pred=iplap=i/results --crop=iplap=right --tolerance=8 --truth=out/truth \\
    --metadata=clips.csv --against=wav2lip --workers=2 --out=out/scores
  talkface evaluate --compare out/scores/scores.json older/scores.json
"""
EXTRAS = ("evaluate",)
_SPLIT = "test"
_TABLE = "table"
_REPORTS = (_TABLE, Aspect.BLINKS.value, Aspect.EMOTION.value)
_OF_VIDEOS = (
    "face",
    "against",
    "match",
    "pairs",
    "crop",
    "tolerance",
    "metadata",
    "workers",
    "tracks",
    "legacy_landmarks",
    "face_lpips",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--out", type=common.folder, metavar="DIR", help="folder of the report")
    parser.add_argument("--bundle", type=pathlib.Path, metavar="DIR", help="from talkface export")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=pathlib.Path,
        metavar=("A", "B"),
        help="two scores.json: what changed from A to B, over the clips of both",
    )
    landmarks = parser.add_argument_group("with a prepared data set")
    landmarks.add_argument("--data", metavar="DIR", help="from talkface prepare; needs --bundle")
    landmarks.add_argument("--split", metavar="NAME", help=f"of --data (default: {_SPLIT})")
    landmarks.add_argument(
        "--train-data",
        metavar="DIR",
        help="prepared set that the baselines may know, by its train split (default: --data)",
    )
    landmarks.add_argument(
        "--without",
        action="append",
        choices=_REPORTS,
        help="leave out the table, or a report that the method has besides; again for another",
    )
    _add_video_arguments(parser.add_argument_group("with mp4s"))


def _add_video_arguments(videos: Any) -> None:
    videos.add_argument(
        "--pred",
        action="append",
        metavar="[NAME=]DIR",
        help="generated mp4s; needs --truth; again for each further system, with its name",
    )
    videos.add_argument("--truth", type=pathlib.Path, metavar="DIR", help="true mp4s")
    videos.add_argument(
        "--against", metavar="ROW", help="compare every system with this row (default: with all)"
    )
    videos.add_argument(
        "--match",
        action="append",
        metavar="[NAME=]REGEX",
        help="its group is the name of the clip in the path of a generated mp4",
    )
    videos.add_argument(
        "--pairs",
        action="append",
        metavar="[NAME=]CSV",
        help="which is whose, in the columns truth and pred",
    )
    videos.add_argument(
        "--crop",
        action="append",
        metavar="[NAME=]PART",
        help="the part of the picture that counts, where several stand side by side: left, right, "
        "top, bottom, 2/3 (the second of three columns), or x0,y0,x1,y1",
    )
    videos.add_argument(
        "--tolerance",
        type=common.at_least(0),
        metavar="N",
        help="frames by which lengths may differ (default: 3; official IP-LAP needs 8)",
    )
    _add_knowledge_arguments(videos)


def _add_knowledge_arguments(videos: Any) -> None:
    """What is known of the clips, and how they are tracked and counted."""
    videos.add_argument(
        "--metadata",
        type=pathlib.Path,
        metavar="CSV",
        help="columns clip, speaker, emotion, and any groups (skin, sex, view, …)",
    )
    videos.add_argument(
        "--face",
        metavar="WHICH",
        help="where there are several faces: speaker, largest, or an index from the left",
    )
    videos.add_argument(
        "--workers", type=common.at_least(1), metavar="N", help="processes (default: 1)"
    )
    videos.add_argument(
        "--tracks",
        type=pathlib.Path,
        metavar="DIR",
        help="where tracks are kept (default: in the user's cache)",
    )
    videos.add_argument(
        "--legacy-landmarks",
        action="store_true",
        default=None,
        help="M-LD, F-LD, M-LVD, F-LVD also as a public script for MEAD counts them",
    )
    videos.add_argument(
        "--face-lpips",
        action="store_true",
        default=None,
        help="LPIPS of the face too, not of the mouth alone; takes as long as all other images",
    )


def run(args: argparse.Namespace) -> int:
    """Scores and writes the report; prints the table."""
    videos = args.pred is not None or args.truth is not None
    if wrong := _wrong_flags(args, videos=videos):
        args.parser.error(wrong)
    if args.compare is not None:
        return _compare(*args.compare)
    runtime.enable_compilation_cache()
    scores = _score_videos(args) if videos else _score_landmarks(args)
    from talkface_jax.evaluate import report

    out = common.console()
    if scores is None:
        return 0
    out.print(report.table(scores))
    for failure in scores.failures:
        out.print(f"failed: {failure.clip} ({failure.row}): {failure.reason}", soft_wrap=True)
    out.print(f"{args.out / 'scores.json'}\n{args.out / 'report.html'}", soft_wrap=True)
    return 0


def _wrong_flags(args: argparse.Namespace, *, videos: bool) -> str:
    """What is missing, or is of the other way in; "" where the flags fit."""
    given = [name for name in _OF_VIDEOS if getattr(args, name) is not None]
    if args.compare is not None:
        others = ("out", "bundle", "data", "split", "train_data", "without", "pred", "truth")
        others = [name for name in others if getattr(args, name) is not None] + given
        return f"--{others[0].replace('_', '-')} does not go with --compare" if others else ""
    if args.out is None:
        return "the following arguments are required: --out (or --compare A B)"
    if videos:
        for flag in ("data", "split", "train-data", "without"):
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
    return f"--{given[0].replace('_', '-')} goes with --pred and --truth only" if given else ""


def _score_landmarks(args: argparse.Namespace) -> Any:
    with common.progress_bars() as progress:
        found = api.evaluate_landmarks(
            args.bundle,
            data=args.data,
            out=args.out,
            split=args.split or _SPLIT,
            train_data=args.train_data,
            without=[Aspect(name) for name in args.without or () if name != _TABLE],
            table=_TABLE not in (args.without or ()),
            command=args.command_line,
            progress=progress,
        )
    for row, reason in found.left_out.items():
        common.console().print(f"no {row} row: {reason}", soft_wrap=True)
    if found.no_blinks:
        text = f"blinks were not compared: {found.no_blinks}"
        common.console().print(text, soft_wrap=True)
    if found.blinks is not None:
        _print_blinks(found.blinks, args.out)
    if found.no_emotions:
        text = f"emotions were not measured: {found.no_emotions}"
        common.console().print(text, soft_wrap=True)
    if found.emotions is not None:
        _print_emotions(found.emotions, args.out)
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


def _print_emotions(found: "EmotionReport", folder: pathlib.Path) -> None:
    from talkface_jax.evaluate import emotion_clip

    out, worst = common.console(), found.worst
    others = found.comparisons[emotion_clip.MODEL]
    ratio = others[emotion_clip.WRONG][emotion_clip.FACE_DISTANCE].ratio
    grows = "grows" if found.grows else "does not surely grow"
    out.print(
        f"emotions, {found.clips} clips: face {ratio.value:.2f} [{ratio.low:.2f}, "
        f"{ratio.high:.2f}] times as far from the truth as with a wrong emotion; of the worst "
        f"emotion the mouth's opening correlates with neutral's at {worst.correlation:.2f} and for "
        f"other speech at {worst.other_speech:.2f}, p, b and m close {worst.closures:.2f} times as "
        f"often as neutral's; the displacement {grows} with every level; an angry voice: "
        f"correlation {found.voice.value:.2f}",
        soft_wrap=True,
    )
    out.print(f"{folder / 'emotions.html'}", soft_wrap=True)


def _score_videos(args: argparse.Namespace) -> Any:
    given = {
        name: getattr(args, name)
        for name in ("face", "against", "tolerance", "workers", "tracks")
        if getattr(args, name) is not None
    }
    systems = read_systems(args.pred, match=args.match, pairs=args.pairs, crop=args.crop)
    with common.progress_bars() as progress:
        return api.evaluate_videos(
            systems,
            truth=args.truth,
            out=args.out,
            bundle=args.bundle,
            clips=args.metadata,
            legacy=bool(args.legacy_landmarks),
            whole=bool(args.face_lpips),
            command=args.command_line,
            progress=progress,
            **given,
        )


def read_systems(
    pred: list[str],
    *,
    match: list[str] | None = None,
    pairs: list[str] | None = None,
    crop: list[str] | None = None,
) -> dict[str, Any]:
    """The systems that the flags name; what is said without a name holds for every system.

    Raises:
      TalkfaceError: a name twice, more than one system without a name, a flag twice for one
        system, or a crop that is none.
    """
    from talkface_jax.errors import TalkfaceError
    from talkface_jax.evaluate import cropping, scores

    folders: dict[str, str] = {}
    for text in pred:
        name, sign, folder = text.partition("=")
        if not sign or not name or set(name) & set("/\\"):
            name, folder = scores.MODEL, text
        if not name.strip() or not name.isprintable():
            raise TalkfaceError(f"--pred={text!r}: a system needs a name of printable characters")
        if name in folders:
            raise TalkfaceError(f"--pred={text}: {name} is given twice; write --pred=NAME=DIR")
        if not folder:
            raise TalkfaceError(f"--pred={text} names no folder; write --pred={name}=DIR")
        folders[name] = folder

    def of_each(flag: str, texts: list[str] | None) -> dict[str, str]:
        said: dict[str, str] = {}
        for text in texts or []:
            name, sign, value = text.partition("=")
            named = bool(sign) and name in folders
            for system in [name] if named else folders:
                if system in said:
                    raise TalkfaceError(f"--{flag} is given twice for {system}; leave one out")
                said[system] = value if named else text
        return said

    matches, tables, crops = (
        of_each("match", match),
        of_each("pairs", pairs),
        of_each("crop", crop),
    )
    return {
        name: api.System(
            pathlib.Path(folder),
            match=matches.get(name),
            table=pathlib.Path(tables[name]) if name in tables else None,
            crop=cropping.parse_crop(crops[name]) if name in crops else None,
        )
        for name, folder in folders.items()
    }


def _compare(ours: pathlib.Path, theirs: pathlib.Path) -> int:
    from talkface_jax.evaluate import compare

    found = compare.compare(compare.read_scores(ours), compare.read_scores(theirs))
    common.console().print(compare.compare_table(found))
    return 0
