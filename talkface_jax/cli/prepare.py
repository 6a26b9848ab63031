"""`talkface prepare`: raw videos become shards with tracked landmarks."""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

from talkface_jax import extras, runtime
from talkface_jax.cli import common
from talkface_jax.errors import ConfigError, TalkfaceError

HELP = "raw videos -> tracked, sharded data set"
DESCRIPTION = """\
Reads raw talking-head videos, brings them to 25 frames and 16,000 samples a
second, tracks the face (478 points, 52 blendshapes, head pose) and writes
method-agnostic TFRecord shards with an index and a manifest.

A clip that cannot be used, or that fails a quality gate, becomes a row of
failures.jsonl with its reason. A stopped run continues where it was; only
--dataset=speech begins anew. The same input gives the same bytes, whatever the
number of workers. One run at a time may write to a folder; remote places cannot
be locked, so see to it there.

The work is an Apache Beam pipeline. It runs on this machine (--workers=N
processes) unless another runner is named; every flag that is not listed here is
handed to Beam. --raw and --out may then be remote places (gs://bucket/folder).
"""
EPILOG = """\
examples:
  talkface prepare --dataset=folder --raw=my_videos --out=out/data --workers=8
  talkface prepare --dataset=mead --raw=MEAD --out=out/mead --max-failures=2%
  talkface prepare --dataset=mead --raw=MEAD --out=out/mead4 --split=four-actors
  talkface prepare --dataset=hdtf --raw=HDTF --out=out/hdtf --split=speaker
  talkface prepare --dataset=synthetic --clips=24 --seed=0 --out=out/data
  talkface prepare --dataset=speech --clips=4000 --voices=package/voices --out=out/speech
  talkface prepare --dataset=lrs2 --raw=gs://b/lrs2 --out=gs://b/out \\
      --runner=DataflowRunner --project=P --region=R --temp_location=gs://b/tmp
"""
EXTRAS = ("prepare",)
MAKES = ("demo",)
"""Extras of the data sets that are made on the spot."""
TAKES_REST = True
_SPLITS = ("official", "speaker", "four-actors")
_SPLIT_FLAGS = ("split", "test_share", "val_share", "split_seed")
_MADE_FLAGS = ("clips", "val_clips", "test_clips", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="mead, hdtf, lrs2, folder (any tree of videos), synthetic (talking heads made on "
        "the spot) or speech (sound alone, made on the spot, with its text)",
    )
    parser.add_argument("--raw", help="raw data: the root folder of the data set")
    parser.add_argument("--out", required=True, help="prepared data set")
    parser.add_argument(
        "--face",
        help="which face to follow where there are several: speaker, largest, or an index from "
        "the left",
    )
    parser.add_argument(
        "--workers", type=common.at_least(1), default=1, help="processes (default: 1)"
    )
    parser.add_argument(
        "--shards",
        type=common.at_least(1),
        help="shards of each split (default: 100 to 250 MB each)",
    )
    parser.add_argument(
        "--max-failures",
        type=_failures,
        default=0,
        metavar="N|N%",
        help="how many clips may fail, or what share of them (default: 0)",
    )
    _add_split_arguments(parser)
    _add_gate_arguments(parser)
    made = parser.add_argument_group("synthetic and speech")
    made.add_argument("--clips", type=common.at_least(1), help="how many training clips to make")
    made.add_argument(
        "--val-clips",
        type=common.at_least(0),
        help="clips by which checkpoints are chosen, of people of their own (default: an eighth; "
        "of speech at most 24)",
    )
    made.add_argument(
        "--test-clips",
        type=common.at_least(0),
        help="held-out clips (default: a quarter; of speech an eighth, at most 24)",
    )
    made.add_argument(
        "--seed", type=common.at_least(0), help="the set is a function of it (default: 0)"
    )
    made.add_argument(
        "--voices",
        type=pathlib.Path,
        help="speech: folder of Kokoro's voices, package/voices of npm's kokoro-js 1.2.1 "
        "(default: one voice)",
    )


def _add_split_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("splits")
    group.add_argument(
        "--split",
        choices=_SPLITS,
        help="the data set's own splits, splits that share no speaker, or, of mead, four actors "
        "for testing (default: official)",
    )
    group.add_argument(
        "--test-share",
        type=_share,
        help="with --split=speaker: share of the clips in the test split, as near as whole "
        "speakers come (default: 0.1)",
    )
    group.add_argument(
        "--val-share",
        type=_share,
        help="share of the clips in the val split, likewise; without --split=speaker of the "
        "training clips, where the data set has no val split (default: 0.1 where there are 3 "
        "speakers; 0: none)",
    )
    group.add_argument(
        "--split-seed",
        type=common.at_least(0),
        help="another seed, other speakers (default: 0)",
    )


def _add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag for each of the quality gates' fields, by the same name."""
    from data_prep import gates

    group = parser.add_argument_group("quality gates (0: no such gate)")
    for field in dataclasses.fields(gates.Gates):
        group.add_argument(
            gates.flag(field.name),
            type=float,
            metavar="X",
            help=f"{field.metadata['help']} (default: {field.default:g})".replace("%", "%%"),
        )


def _failures(text: str) -> int | str:
    """An argparse type: a count, or a share with a percent sign."""
    if not text.endswith("%"):
        return common.at_least(0)(text)
    try:
        share = float(text[:-1])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise argparse.ArgumentTypeError(f"must be a count or from 0% to 100%, not {text}")
    return text


def _share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text}")
    return value


def run(args: argparse.Namespace) -> int:
    """Generates if asked, prepares, prints the summary."""
    from data_prep import datasets, places, prepare
    from talkface_jax.data import tfds_info

    datasets.check_name(args.dataset)
    if args.dataset == datasets.SPEECH:
        return _run_speech(args)
    if args.dataset != "synthetic":
        _refuse(args, _MADE_FLAGS, "needs --dataset=synthetic or --dataset=speech")
    _refuse(args, ["voices"], "needs --dataset=speech")
    places.import_beam()
    _check_rest(args)
    options = _prepare_options(args)
    # Before clips are made that could not be split so.
    datasets.get_protocols(args.dataset, options["protocol"])
    if args.dataset == "synthetic":
        extras.require(*MAKES)
    raw, out = args.raw, args.out
    if not places.is_remote(out):
        runtime.require_folder(pathlib.Path(out), flag="--out")
    tfds_info.import_tfds()
    with common.progress_bars() as progress:
        if args.dataset == "synthetic":
            raw = _generate(args, progress)
        elif raw is None:
            raise TalkfaceError(f"--dataset={args.dataset} needs the raw videos; give --raw=DIR")
        summary = prepare.prepare(args.dataset, raw=raw, out=out, progress=progress, **options)
    common.console().print(str(summary), soft_wrap=True, markup=False)
    return 0


def _run_speech(args: argparse.Namespace) -> int:
    """Speaks and writes the speech set, which has neither raw files nor faces."""
    from data_prep import places
    from data_prep.speech import dataset
    from talkface_jax.data import tfds_info

    if args.rest:
        args.parser.error(f"unknown {' '.join(args.rest)}: --dataset=speech takes no Beam options")
    _refuse(args, ["raw", "face", "shards"], "does not go with --dataset=speech")
    _refuse(args, _SPLIT_FLAGS, "does not go with --dataset=speech: its test voices are fixed")
    _refuse(args, _gate_fields(), "does not go with --dataset=speech, which has no raw videos")
    if args.clips is None:
        raise TalkfaceError("--dataset=speech needs the number of clips to make; give --clips=N")
    if places.is_remote(args.out):
        raise TalkfaceError(f"--dataset=speech cannot write to {args.out}; give a local --out")
    extras.require(*MAKES)
    out = pathlib.Path(args.out)
    runtime.require_folder(out, flag="--out")
    tfds_info.import_tfds()
    with common.progress_bars() as progress:
        summary = dataset.prepare_speech(
            out,
            clips=args.clips,
            test_clips=args.test_clips,
            val_clips=args.val_clips,
            seed=args.seed or 0,
            voices=args.voices,
            workers=args.workers,
            max_failures=args.max_failures,
            progress=progress,
        )
    common.console().print(str(summary), soft_wrap=True, markup=False)
    return 0


def _refuse(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """A flag that would be ignored is a mistake of usage."""
    for name in names:
        if getattr(args, name) is not None:
            args.parser.error(f"--{name.replace('_', '-')} {why}")


def _gate_fields() -> list[str]:
    from data_prep import gates

    return [field.name for field in dataclasses.fields(gates.Gates)]


def _check_rest(args: argparse.Namespace) -> None:
    """Flags that are not ours must be Beam's; a mistake in them is one of usage."""
    if args.rest:
        from data_prep import pipeline

        try:
            pipeline.parse_options(args.rest)
        except ConfigError as error:
            args.parser.error(str(error))


def _prepare_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `prepare` that come from flags.

    Raises:
      ConfigError: a gate's value out of its range.
    """
    from data_prep import gates, prepare

    by_speaker = args.split == "speaker"
    if args.test_share is not None and not by_speaker:
        args.parser.error("--test-share needs --split=speaker")
    val = "val" if by_speaker else "share"
    own = args.split in (None, "official", "speaker")
    flags = {"test": args.test_share, val: args.val_share, "seed": args.split_seed}
    given = {name: value for name, value in flags.items() if value is not None}
    values = {name: getattr(args, name) for name in _gate_fields()}
    values = {name: value for name, value in values.items() if value is not None}
    return {
        "face": args.face,
        "gates": gates.Gates(**values),
        "speaker_split": prepare.SpeakerSplit(**given) if by_speaker else None,
        "val_split": None if by_speaker else prepare.ValSplit(**given),
        "protocol": "" if own else args.split,
        "shards": args.shards,
        "workers": args.workers,
        "max_failures": args.max_failures,
        "beam_options": args.rest,
    }


def _generate(args: argparse.Namespace, progress: common.Progress) -> str:
    """Make the synthetic set's raw videos, unless they are there; gives their folder."""
    from data_prep import places
    from data_prep.synthetic import dataset as synthetic

    if args.clips is None:
        raise TalkfaceError("--dataset=synthetic needs the number of clips to make; give --clips=N")
    raw = args.raw or places.join(args.out, "raw")
    if places.is_remote(raw):
        raise TalkfaceError(
            f"--dataset=synthetic cannot make its videos in {raw}; give a local folder as --raw"
        )
    runtime.require_folder(pathlib.Path(raw), flag="--raw")
    synthetic.generate(
        pathlib.Path(raw),
        clips=args.clips,
        held_out_clips=args.test_clips,
        val_clips=args.val_clips,
        seed=args.seed or 0,
        workers=args.workers,
        progress=progress,
    )
    return raw
