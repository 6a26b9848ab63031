"""From part files to shards: which records go where, and writing them.

Shards are balanced by bytes, in the order of the clips, whatever the number of workers that made
the parts. The plan is written before the first shard, so that a join that was killed goes on: parts
are removed as soon as a shard holds all of their records, and the disk never holds the data twice.
"""

import bisect
import contextlib
import dataclasses
import functools
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from data_prep import places
from data_prep.job import Job, digest
from talkface_jax.data import manifest, schema, store, tfds_info
from talkface_jax.errors import RecordError, TalkfaceError

_PLAN = "plan.json"
# One shard up to the first size; else as many as make shards of about the second. A record has up
# to 3 MB, so that a shard has 100 to 250 MB.
_ONE_SHARD, _SHARD = 250_000_000, 200_000_000


@dataclasses.dataclass(frozen=True)
class Part:
    """The records of one clip: key, split, and the bytes of each record."""

    key: str
    split: str
    records: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Records `first` to `end` (exclusive) of a part file; `whole` if these are all."""

    key: str
    first: int
    end: int
    whole: bool


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """One shard to write: TFDS's default file name, and what goes into it."""

    name: str
    split: str
    pieces: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All shards of a data set made of those parts (`Job.keys`), and `facts` for its manifest."""

    keys: str
    shards: tuple[ShardPlan, ...]
    facts: Mapping[str, Any]

    @functools.cached_property
    def digest(self) -> str:
        """Tells the marks of this plan's shards from those of another."""
        return digest([json.dumps(dataclasses.asdict(self), sort_keys=True)])


def plan_shards(dataset: str, parts: Sequence[Part], *, shards: int | None) -> list[ShardPlan]:
    """The shards of every split: records in the order of the parts, balanced by bytes.

    Args:
      dataset: first part of the file names.
      parts: in the order of clips.
      shards: of each split, at most one a record; None for 100 to 250 MB each.
    """
    plans = []
    for split in sorted({part.split for part in parts}):
        mine = [part for part in parts if part.split == split]
        sizes = [size for part in mine for size in part.records]
        count = min(len(sizes), shards or shard_count(sum(sizes)))
        edges = _edges(sizes, count)
        for k, (first, end) in enumerate(itertools.pairwise(edges)):
            name = tfds_info.shard_name(dataset, split, k, count)
            plans.append(ShardPlan(name, split, tuple(_pieces(mine, first, end))))
    return plans


def shard_count(size: int) -> int:
    """How many shards hold that many bytes of one split."""
    return 1 if size <= _ONE_SHARD else math.ceil(size / _SHARD)


def _edges(sizes: Sequence[int], count: int) -> list[int]:
    """First record of each shard, and the end: as near to equal bytes as records allow."""
    ends = list(itertools.accumulate(sizes, initial=0))
    edges = [0]
    for k in range(1, count):
        target = ends[-1] * k / count
        i = bisect.bisect_left(ends, target)
        if target - ends[i - 1] < ends[i] - target:
            i -= 1
        edges.append(min(max(i, edges[-1] + 1), len(sizes) - (count - k)))
    return [*edges, len(sizes)]


def _pieces(parts: Sequence[Part], first: int, end: int) -> Iterator[Piece]:
    start = 0
    for part in parts:
        count = len(part.records)
        low, high = max(first - start, 0), min(end - start, count)
        if low < high:
            yield Piece(part.key, low, high, whole=(low, high) == (0, count))
        start += count


def write_plan(job: Job, plan: Plan) -> None:
    """Store the plan; from then on a rerun continues with it.

    Raises:
      RecordError: it cannot be written.
    """
    places.write_text(places.join(job.work, _PLAN), json.dumps(dataclasses.asdict(plan)))


def read_plan(job: Job) -> Plan | None:
    """The plan of this run, or of an earlier one of the same job that came so far."""
    place = places.join(job.work, _PLAN)
    if not places.exists(place):
        return None
    try:
        row = json.loads(places.read_text(place))
        shards = tuple(
            ShardPlan(s["name"], s["split"], tuple(Piece(**piece) for piece in s["pieces"]))
            for s in row["shards"]
        )
        plan = Plan(row["keys"], shards, row["facts"])
    except (ValueError, KeyError, TypeError):
        return None
    return plan if plan.keys == job.keys else None


def write_shard(job: Job, shard: ShardPlan, *, plan: str) -> None:
    """Write one shard with its index, then its mark; remove the parts that it used up.

    Args:
      job: the preparation.
      shard: what to write.
      plan: digest of the plan, for the mark.

    Raises:
      TalkfaceError: a part is missing or damaged (it is removed, so that a rerun makes it again),
        or the disk is full.
    """
    with places.local_folder(job.out) as folder:
        path = folder / shard.name
        with store.ShardWriter(path) as writer:
            for piece in shard.pieces:
                _copy(job, piece, writer)
        entry = manifest.shard_entry(path, shard.split)
    mark = {"plan": plan, "entry": dataclasses.asdict(entry)}
    places.write_text(_mark(job, shard), json.dumps(mark))
    for piece in shard.pieces:
        if piece.whole:
            _delete_part(job, piece)


def _copy(job: Job, piece: Piece, writer: store.ShardWriter) -> None:
    for data, meta in _records(job, piece):
        writer.write(data, meta)


def _records(job: Job, piece: Piece) -> Iterator[tuple[bytes, schema.RecordMeta]]:
    """The records of a piece; a part that cannot be read is removed, so that it is made again."""
    name = f"{piece.key}.tfrecord"
    try:
        with (
            places.local_files(job.work, name, f"{name}.index.json") as folder,
            contextlib.closing(store.ShardSource([folder / name])) as source,
        ):
            metas = source.metas()
            if len(metas) < piece.end:
                raise RecordError(f"{name} has lost records; make it anew")
            for i in range(piece.first, piece.end):
                yield source[i], metas[i]
    except RecordError as error:
        _delete_part(job, piece)
        # What a finished set would need is not needed here: this part alone is made anew.
        reason = str(error).partition("; ")[0]
        raise RecordError(
            f"{reason}: this part was removed; run `talkface prepare` again"
        ) from error


def _delete_part(job: Job, piece: Piece) -> None:
    place = places.join(job.work, f"{piece.key}.tfrecord")
    places.delete(f"{place}.index.json")
    places.delete(place)


def finished_entry(job: Job, plan: Plan, shard: ShardPlan) -> manifest.ShardEntry | None:
    """The manifest's line of a shard that is complete."""
    try:
        mark = json.loads(places.read_text(_mark(job, shard)))
    except (TalkfaceError, ValueError):
        return None
    place = places.join(job.out, shard.name)
    complete = mark["plan"] == plan.digest and places.size(place) == mark["entry"]["size"]
    if not complete or not places.exists(f"{place}.index.json"):
        return None
    return manifest.ShardEntry(**mark["entry"])


def unfinished(job: Job, plan: Plan) -> list[ShardPlan]:
    """The shards of a plan that are still to be written."""
    return [shard for shard in plan.shards if finished_entry(job, plan, shard) is None]


def remove_strangers(job: Job, plan: Plan) -> None:
    """Remove shards of an unfinished run with another plan, which would look like data."""
    remove_shards(job.out, job.dataset, but=[shard.name for shard in plan.shards])


def remove_shards(out: str, dataset: str, *, but: Collection[str]) -> None:
    """Remove the shards of a data set, with their indices, but those of these names."""
    ours = re.compile(rf"({re.escape(dataset)}-\w+\.tfrecord-\d{{5}}-of-\d{{5}})(\.index\.json)?")
    for name in places.names(out):
        if (match := ours.fullmatch(name)) and match[1] not in but:
            places.delete(places.join(out, name))


def _mark(job: Job, shard: ShardPlan) -> str:
    return places.join(job.work, f"{shard.name}.json")
