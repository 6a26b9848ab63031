"""Raw data set -> prepared directory: shards, indices, clips.jsonl, failures.jsonl, manifest.json.

An Apache Beam pipeline prepares the clips independently into part files, which are then joined in
the order of clips, so that the shards are the same bytes whatever the runner and the number of
workers. The manifest comes last: a directory without one is unfinished, and the same command goes
on with the clips and shards that are missing.
"""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_prep import datasets, places, tfds_info, tree
from data_prep import job as jobs
from data_prep.datasets import Listing, splits
from data_prep.gates import Gates
from data_prep.job import ClipTask, Job
from talkface_jax.data import manifest
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError
from talkface_jax.records import ClipInfo

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class SpeakerSplit:
    """Splits that share no speaker, in the place of the data set's own.

    Attributes:
      test, val: shares of the speakers; the rest is for training.
      seed: the split is a function of it and of the speakers' names.
    """

    test: float = 0.1
    val: float = 0.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class PrepareSummary:
    """What a preparation left behind; `str` is what the user is told.

    Attributes:
      out: the prepared directory.
      clips, failures: clips prepared, clips that could not be.
      segments, frames, valid_frames: stored; frames without a face are stored and marked.
      dropped: segments left out (shorter than 25 frames or faceless).
      splits: clips of each split.
      notes: what the data set's adapter found odd but harmless, a sentence each.
    """

    out: str
    clips: int
    failures: int
    segments: int
    frames: int
    valid_frames: int
    dropped: int
    splits: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        faceless = self.frames - self.valid_frames
        where = f" (see {jobs.FAILURES})" if self.failures else ""
        line = (
            f"{self.out}: {self.clips} clips ({splits}) in {self.segments} segments, "
            f"{self.frames} frames of which {faceless} without a face; "
            f"{self.failures} clips failed{where}, {self.dropped} segments dropped"
        )
        return "\n".join([line, *(f"note: {note}" for note in self.notes)])


def prepare(
    dataset: str,
    *,
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    face: str | None = None,
    gates: Gates | None = None,
    speaker_split: SpeakerSplit | None = None,
    shards: int | None = None,
    workers: int = 1,
    max_failures: int | str = 0,
    beam_options: Sequence[str] = (),
    progress: Progress | None = None,
) -> PrepareSummary:
    """Prepare a raw data set; running it again continues, or returns at once if all is done.

    Args:
      dataset: name of an adapter (`data_prep.datasets.ADAPTERS`).
      raw: root of the raw data, local or remote ("gs://bucket/folder"); only read.
      out: folder for the shards, local or remote; made if missing.
      face: which face to follow (`media.faces.choose`); None insists on one face a clip.
      gates: what a clip must fulfil; None for `Gates()`.
      speaker_split: splits that share no speaker; None for the data set's own.
      shards: shards of each split; None for 100 to 250 MB each.
      workers: processes on this machine.
      max_failures: how many clips may fail, or what share of them ("5%"); each is a row of
        failures.jsonl.
      beam_options: Apache Beam's own, as on the command line ("--runner=DataflowRunner", ...).
      progress: called as progress("prepare", clips done, clips in all).

    Raises:
      TalkfaceError: nothing was prepared, too many clips failed, the disk is full, a library is
        missing, or `out` holds another prepared set.
    """
    if workers < 1 or (shards is not None and shards < 1):
        raise ConfigError("--workers and --shards must be at least 1.")
    places.import_beam()
    from data_prep import pipeline

    options = pipeline.parse_options(beam_options, raw=raw, out=out)
    found = tree.scan(raw)
    listing = _listing(dataset, found, speaker_split)
    facts = {
        "face": face,
        "gates": dataclasses.asdict(gates or Gates()),
        "speaker_split": dataclasses.asdict(speaker_split) if speaker_split else None,
        "shards": shards,
    }
    tasks, sizes = _tasks(listing.clips, found, facts)
    allowed = allowed_failures(max_failures, len(tasks) + len(listing.problems))
    job = _job(dataset, found.root, os.fspath(out), facts, tasks, listing, allowed)
    finished = _existing(job)
    if finished is None:
        _start(job, _largest_first(tasks, sizes))
        pipeline.run(job, options=options, workers=workers, total=len(tasks), progress=progress)
        finished = _end(job, len(tasks) + len(listing.problems))
    return finished


def allowed_failures(limit: int | str, clips: int) -> int:
    """How many of the clips may fail, by a count or a share ("5%").

    Raises:
      ConfigError: neither.
    """
    text = str(limit).strip()
    try:
        if text.endswith("%"):
            share = float(text[:-1])
            if 0 <= share <= 100:
                return math.floor(clips * share / 100 + 1e-9)
        elif int(text) >= 0:
            return int(text)
    except ValueError:
        pass
    raise ConfigError(
        f"--max-failures={limit} is neither a whole number of clips nor a share from 0% to 100%; "
        "correct it."
    )


def _listing(dataset: str, found: tree.Tree, speaker_split: SpeakerSplit | None) -> Listing:
    """The clips by name, in the splits that were asked for.

    Raises:
      TalkfaceError: no clip, two of one name, or a tree that is not of that data set.
    """
    listing = datasets.get_adapter(dataset).list_clips(found)
    if not listing.clips and not listing.problems:
        raise MediaError(f"--raw={found.root} holds no clip; check the path and the --dataset.")
    clips = sorted(listing.clips, key=lambda info: info.clip)
    for first, second in itertools.pairwise(clips):
        if first.clip == second.clip:
            raise MediaError(
                f"{first.video} and {second.video} are both clip {first.clip}; rename one."
            )
    if speaker_split is not None:
        clips = splits.by_speaker(clips, **dataclasses.asdict(speaker_split))
    tfds_info.check_names(dataset, sorted({info.split for info in clips}))
    return dataclasses.replace(listing, clips=tuple(clips))


def _tasks(
    clips: Sequence[ClipInfo], found: tree.Tree, facts: Mapping[str, Any]
) -> tuple[list[ClipTask], list[int]]:
    """The tasks in the order of clips, and the sizes of their videos."""
    options = {name: facts[name] for name in ("face", "gates")}
    tasks, sizes = [], []
    for number, info in enumerate(clips):
        files = [_stamp(found, path) for path in (info.video, info.audio) if path]
        tasks.append(ClipTask(number, jobs.clip_key(info, files, options), info))
        sizes.append(files[0][0])
    return tasks, sizes


def _stamp(found: tree.Tree, path: str) -> tuple[int, int]:
    try:
        entry = found.entry(path)
    except MediaError:  # its absence is reported when the clip's turn comes
        return (-1, -1)
    return entry.size, entry.stamp


def _job(
    dataset: str,
    raw: str,
    out: str,
    facts: Mapping[str, Any],
    tasks: Sequence[ClipTask],
    listing: Listing,
    allowed: int,
) -> Job:
    lines = [*(task.key for task in tasks), json.dumps(facts, sort_keys=True)]
    return Job(
        dataset=dataset,
        raw=raw,
        out=out,
        face=facts["face"],
        gates=Gates(**facts["gates"]),
        shards=facts["shards"],
        max_failures=allowed,
        options=facts,
        fingerprint=jobs.digest(lines),
        notes=tuple(listing.notes),
        problems=tuple(listing.problems),
    )


def _largest_first(tasks: Sequence[ClipTask], sizes: Sequence[int]) -> list[ClipTask]:
    """Beam's local runner deals clips out to its workers like cards.

    With the largest first, the hands differ by no more than one clip.
    """
    return [tasks[i] for i in sorted(range(len(tasks)), key=lambda i: (-sizes[i], i))]


def _start(job: Job, tasks: Sequence[ClipTask]) -> None:
    """Make the work folder ready; clips that failed in an earlier run are tried again."""
    places.make_folder(job.out)
    places.make_folder(job.work)
    for name in places.names(job.work):
        if name.endswith(jobs.FAILED) or ".tmp-" in name:
            places.delete(places.join(job.work, name))
    jobs.write_tasks(job, tasks)


def _end(job: Job, total: int) -> PrepareSummary:
    """The summary of a finished run, whose work folder goes.

    Raises:
      TalkfaceError: too many clips failed.
    """
    if places.exists(places.join(job.out, manifest.MANIFEST)):
        made = _read_manifest(job.out)
        places.delete_folder(job.work)
        return _summary(job.out, made)
    place = places.join(job.out, jobs.FAILURES)
    rows = [json.loads(line) for line in places.read_text(place).splitlines()]
    done = total - len(rows)
    if not done:
        places.delete_folder(job.work)
    raise TalkfaceError(
        f"{len(rows)} of {total} clips could not be prepared, first {rows[0]['clip']} "
        f"({rows[0]['reason'].rstrip('.')}); see {place}, mend or remove them"
        + (" or raise --max-failures." if done else ".")
    )


def _existing(job: Job) -> PrepareSummary | None:
    """The summary of a finished directory made from the same clips and options.

    Raises:
      ConfigError: it was made from others.
    """
    if not places.exists(places.join(job.out, manifest.MANIFEST)):
        return None
    found = _read_manifest(job.out)
    if found.lineage.get("fingerprint") != job.fingerprint:
        raise ConfigError(
            f"{job.out} holds a data set prepared from other clips or options; remove it or give "
            "another --out."
        )
    if not places.is_remote(job.out):
        manifest.check_sizes(job.out, found.shards)
    for shard in found.shards if places.is_remote(job.out) else ():
        place = places.join(job.out, shard.name)
        if places.size(place) != shard.size:
            raise RecordError(f"shard {place} is missing or altered; remove it and its manifest")
    places.delete_folder(job.work)  # of a run that was killed while it removed it
    return _summary(job.out, found)


def _read_manifest(out: str) -> manifest.Manifest:
    with places.local_files(out, manifest.MANIFEST) as folder:
        return manifest.read_manifest(folder)


def _summary(out: str, found: manifest.Manifest) -> PrepareSummary:
    return PrepareSummary(
        out=out,
        clips=found.clips,
        failures=len(found.failures),
        segments=sum(shard.records for shard in found.shards),
        frames=sum(shard.frames for shard in found.shards),
        valid_frames=sum(shard.valid_frames for shard in found.shards),
        dropped=found.lineage.get("dropped_segments", 0),
        splits=dict(found.lineage.get("clips_of_split", {})),
        notes=tuple(found.lineage.get("notes", ())),
    )
