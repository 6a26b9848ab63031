"""What the steps of a preparation share: the job, its clips, what became of them, where it lies.

The work folder (`.parts` in the output) holds, by the clip's key, a part file with the clip's
records and an outcome, written last, which proves that the clip is finished. With the plan of the
shards and a mark for each finished shard it is all that a killed run needs to go on.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_prep import places
from data_prep.gates import Gates
from talkface_jax.data import manifest, schema
from talkface_jax.errors import TalkfaceError
from talkface_jax.records import ClipInfo

# Part of every clip's key: raise it when the same input gives other records.
_VERSION = 2
WORK = ".parts"
CLIPS = "clips.jsonl"
FAILURES = "failures.jsonl"
DONE, FAILED = ".done.json", ".failed.json"
_TASKS = "tasks.jsonl"


@dataclasses.dataclass(frozen=True)
class Job:
    """One preparation, as every step and every worker knows it.

    Attributes:
      dataset: name of the adapter.
      raw, out: local folders or remote places.
      face: which face to follow (`media.faces.choose`); None insists on one face a clip.
      gates: what a clip must fulfil.
      shards: shards of each split; None for as many as their size asks for.
      max_failures: how many clips may fail.
      options: what the records depend on besides the raw files, for the manifest.
      fingerprint: of clips and options; a directory made by another is not continued.
      notes: the adapter's sentences on what is odd.
      problems: files that cannot be clips.
    """

    dataset: str
    raw: str
    out: str
    face: str | None
    gates: Gates
    shards: int | None
    max_failures: int
    options: Mapping[str, Any]
    fingerprint: str
    notes: tuple[str, ...] = ()
    problems: tuple[manifest.Failure, ...] = ()

    @property
    def work(self) -> str:
        """The folder of unfinished things."""
        return places.join(self.out, WORK)


@dataclasses.dataclass(frozen=True)
class ClipTask:
    """One clip to prepare: its place in the order of clips, and the name of its files."""

    number: int
    key: str
    info: ClipInfo

    @property
    def part(self) -> str:
        """File name of the shard with the records of this clip alone."""
        return f"{self.key}.tfrecord"


@dataclasses.dataclass(frozen=True)
class ClipOutcome:
    """What became of a clip.

    Attributes:
      number, clip: which.
      reason: why it failed; empty on success.
      frames, valid_frames: stored.
      dropped: segments left out: shorter than 25 frames, or without a face.
      records: bytes of each record in the part file, with its framing.
      source_sha256: of the video file.
      quality: what the gates measured (`quality.Quality`).
    """

    number: int
    clip: str
    reason: str = ""
    frames: int = 0
    valid_frames: int = 0
    dropped: int = 0
    records: tuple[int, ...] = ()
    source_sha256: str = ""
    quality: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def clip_key(info: ClipInfo, files: Sequence[tuple[int, int]], options: Mapping[str, Any]) -> str:
    """Names a clip's files: changes with the raw files (size, time) and with every option."""
    facts = [_VERSION, schema.SCHEMA_VERSION, dataclasses.asdict(info), options, files]
    return digest([json.dumps(facts, sort_keys=True)])[:32]


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of some lines, in hexadecimal."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_tasks(job: Job, tasks: Iterable[ClipTask]) -> None:
    """The list of clips, in the order in which they are handed out.

    A file, and not a part of the pipeline: Dataflow takes pipelines of 10 MB at most.
    """
    rows = (json.dumps(dataclasses.asdict(task)) for task in tasks)
    places.write_text(places.join(job.work, _TASKS), "".join(row + "\n" for row in rows))


def read_tasks(job: Job) -> Iterator[ClipTask]:
    """The clips of `write_tasks`."""
    for line in places.read_text(places.join(job.work, _TASKS)).splitlines():
        row = json.loads(line)
        yield ClipTask(row["number"], row["key"], ClipInfo(**row["info"]))


def write_outcome(job: Job, task: ClipTask, outcome: ClipOutcome) -> None:
    """The last file of a clip."""
    name = task.key + (FAILED if outcome.reason else DONE)
    places.write_text(places.join(job.work, name), json.dumps(dataclasses.asdict(outcome)))


def read_finished(job: Job, task: ClipTask) -> ClipOutcome | None:
    """The outcome of a clip whose part file is there and has the size that was written."""
    try:
        row = json.loads(places.read_text(places.join(job.work, task.key + DONE)))
        # The order of clips may be another than when the outcome was written.
        outcome = ClipOutcome(**row | {"number": task.number, "records": tuple(row["records"])})
    except (TalkfaceError, ValueError, KeyError, TypeError):
        return None
    part = places.join(job.work, task.part)
    if places.size(part) != sum(outcome.records) or not places.exists(f"{part}.index.json"):
        return None
    return outcome


def write_rows(place: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, whole or not at all; no rows, no file."""
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows]
    if lines:
        places.write_text(place, "".join(lines))
    else:
        places.delete(place)
