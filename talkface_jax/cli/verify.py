"""`talkface verify`: is a prepared data set whole and right, and what does it hold?"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from talkface_jax import api
from talkface_jax.cli import common
from talkface_jax.errors import RecordError, counted

HELP = "check a prepared data set and print what it holds"
DESCRIPTION = """\
Checks everything that can be checked in the output of talkface prepare: the
manifest, size and SHA-256 of every shard, its index, the checksum of every
record, and in each record its layout, the crops, the sound (640 samples a
frame), landmarks, boxes, blendshapes and head poses; then what the records are
together: segments that follow each other, clips.jsonl, splits, and the files
for TensorFlow Datasets. The tables also tell by how much the sound comes after
the mouth where talkface prepare could measure it: the median over the clips,
weighted by confidence, and the five speakers farthest from 0.

Sound-only sets (--dataset=speech) have no face in any frame; there that is no
defect.

All defects are listed, up to 20 of each kind; one damaged record hides no
other. The exit status is 0 only where there is none. The data set is only read.
"""
EPILOG = """\
examples:
  talkface verify out/data
  talkface verify out/data --workers=8 --speaker-disjoint
  talkface verify out/data --images=some --json > report.json
"""
EXTRAS = ("prepare",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("data", metavar="DIR", help="local folder, from talkface prepare")
    parser.add_argument(
        "--workers", type=common.at_least(1), default=1, help="processes (default: 1)"
    )
    parser.add_argument(
        "--images",
        choices=("all", "some", "none"),
        default="all",
        help="which crops to decode, which takes most of the time: all (default), some (one a "
        "second) or none; checksums cover every byte in any case",
    )
    parser.add_argument(
        "--speaker-disjoint",
        action="store_true",
        help="a speaker of two splits is a defect, not only a note",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Checks, prints the tables and the defects; raises if there are any."""
    with common.progress_bars() as progress:
        found = api.verify(
            args.data,
            workers=args.workers,
            images=api.Images(args.images),
            speakers_apart=args.speaker_disjoint,
            progress=progress,
        )
    if args.json:
        common.console().print_json(json.dumps(_as_json(found)))
    else:
        _print(found)
    if not found.clean:
        total = sum(found.counts.values())
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.counts.items()))
        raise RecordError(
            f"{args.data} has {counted(total, 'defect')} ({kinds}); mend what is listed above, or "
            "remove the folder and run `talkface prepare` again"
        )
    return 0


def _as_json(found: Any) -> dict[str, Any]:
    return {
        "dataset": found.manifest.dataset,
        "clean": found.clean,
        "counts": dict(found.counts),
        "defects": [dataclasses.asdict(defect) for defect in found.defects],
        "notes": list(found.notes),
        "statistics": dataclasses.asdict(found.statistics),
    }


def _print(found: Any) -> None:
    from rich.text import Text

    out = common.console()
    manifest, statistics = found.manifest, found.statistics
    licences = f"  licence: {'; '.join(manifest.licences)}"
    out.print(Text.assemble((manifest.dataset, "bold"), licences), soft_wrap=True)
    out.print(_split_table(statistics))
    out.print(_count_table(statistics))
    out.print(_byte_table(statistics))
    if manifest.failures:
        failed = counted(len(manifest.failures), "clip")
        out.print(f"{failed} could not be prepared, see failures.jsonl")
    for note in found.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
    if found.clean:
        out.print("no defect")
        return
    for kind in sorted(found.counts):
        listed = [defect for defect in found.defects if defect.kind == kind]
        more = found.counts[kind] - len(listed)
        out.print(f"[bold]{kind}[/bold]: {counted(found.counts[kind], 'defect')}")
        for defect in listed:
            out.print(f"  {defect.place}: {defect.reason}", soft_wrap=True, markup=False)
        if more:
            out.print(f"  and {more} more")


def _split_table(statistics: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("split")
    for name in ("clips", "segments", "speakers", "frames", "hours", "with a face"):
        table.add_column(name, justify="right")
    for name, split in statistics.splits.items():
        table.add_row(Text(name), *_split_row(split))
    if len(statistics.splits) > 1:
        table.add_section()
        table.add_row("all", *_split_row(statistics.total))
    return table


def _split_row(split: Any) -> list[str]:
    return [
        f"{split.clips:,}",
        f"{split.segments:,}",
        f"{split.speakers:,}",
        f"{split.frames:,}",
        f"{split.hours:.3f}" if split.hours < 10 else f"{split.hours:,.1f}",
        f"{split.face_share:.2%}",
    ]


def _count_table(statistics: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("of the clips", "how many are")
    table.add_row("emotion", _listed(statistics.emotions))
    table.add_row("level", _listed(statistics.levels))
    table.add_row("view", _listed(statistics.views))
    table.add_row("raw frames/s", _listed(statistics.source_fps))
    table.add_row("raw samples/s", _listed(statistics.source_rates))
    if (offsets := statistics.offsets) is not None:
        table.add_row("sound after mouth", _offset(offsets.all))
        farthest = (f"{name} {_offset(offset)}" for name, offset in offsets.farthest.items())
        table.add_row("farthest speakers", Text(", ".join(farthest)))
    return table


def _offset(offset: Any) -> str:
    return f"{offset.ms:+.0f} ms ({offset.clips:,})"


def _listed(counts: Mapping[str, int]) -> Any:
    from rich.text import Text

    return Text(", ".join(f"{name} ({count:,})" for name, count in counts.items()))


def _byte_table(statistics: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("stored")
    table.add_column("bytes", justify="right")
    table.add_column("share", justify="right")
    total = sum(statistics.parts.values())
    for name, size in statistics.parts.items():
        if size >= total / 1000:
            table.add_row(Text(name), _size(size), f"{size / total:.1%}")
    table.add_section()
    sizes = sorted(statistics.shard_sizes)
    spread = f"{_size(sizes[0])} to {_size(sizes[-1])}" if sizes else ""
    table.add_row(counted(len(sizes), "shard"), _size(sum(sizes)), spread)
    return table


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
