"""Raw data set -> prepared directory: shards, indices, clips.jsonl, failures.jsonl, manifest.json.

An Apache Beam pipeline prepares the clips independently into part files, which are then joined in
the order of clips, so that the shards are the same bytes whatever the runner and the number of
workers. The manifest comes last: a directory without one is unfinished, and the same command goes
on with the clips and shards that are missing.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_prep import crashes, datasets, places, tree
from data_prep import job as jobs
from data_prep.datasets import Listing, splits
from data_prep.datasets.splits import SpeakerSplit, ValSplit
from data_prep.gates import Gates
from data_prep.job import ClipTask, Job
from talkface_jax.data import manifest, remedy, tfds_info
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError, counted
from talkface_jax.media import faces
from talkface_jax.records import ClipInfo

Progress = Callable[[str, int, int], None]


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
      made: whether this run came to its end; else the directory was there, and its records were not
        read again.
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
    made: bool = dataclasses.field(default=True, compare=False)

    def __str__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        faceless = self.frames - self.valid_frames
        where = f" (see {manifest.FAILURES})" if self.failures else ""
        line = (
            f"{self.out}: {counted(self.clips, 'clip')} ({splits}) in "
            f"{counted(self.segments, 'segment')}, {counted(self.frames, 'frame')} of which "
            f"{faceless} without a face; {counted(self.failures, 'clip')} failed{where}, "
            f"{counted(self.dropped, 'segment')} dropped"
        )
        notes = list(self.notes)
        if not self.made:
            local = not places.is_remote(self.out)
            check = f", which `talkface verify {shlex.quote(self.out)}` does" if local else ""
            notes.append(f"it was there, finished, and its records were not read again{check}")
        return "\n".join([line, *(f"note: {note}" for note in notes)])


def prepare(
    dataset: str,
    *,
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    face: str | None = None,
    gates: Gates | None = None,
    speaker_split: SpeakerSplit | None = None,
    val_split: ValSplit | None = None,
    protocol: str = "",
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
      val_split: who of training becomes val where there is neither; None for `ValSplit()`.
      protocol: a published split besides the data set's own ("four-actors"), or "".
      shards: of each split, None for 100 to 250 MB each; workers: processes on this machine.
      max_failures: how many clips may fail, or what share ("5%"); rows of failures.jsonl.
      beam_options: Apache Beam's own, as on the command line ("--runner=DataflowRunner", ...).
      progress: called as progress("prepare", clips done, clips in all).

    Raises:
      TalkfaceError: nothing or too little could be prepared, no such split, a full disk, a missing
        library, or an `out` that holds another set or that another process writes to.
    """
    _check_asked(face, workers, shards, ends=(os.fspath(raw), os.fspath(out)))
    places.import_beam()
    from data_prep import pipeline

    options = pipeline.parse_options(beam_options, raw=raw, out=out)
    found = tree.scan(raw)
    split, gates = speaker_split or val_split or ValSplit(), gates or Gates()
    listing = _listing(dataset, found, split, protocol)
    facts = _facts(face, gates, split, shards) | {"protocol": protocol}
    plan = _plan(listing.clips, found, facts)
    job = Job(
        dataset=dataset,
        raw=found.root,
        out=os.fspath(out),
        face=face,
        gates=gates,
        shards=shards,
        max_failures=allowed_failures(max_failures, len(plan.tasks) + len(listing.problems)),
        options=facts,
        fingerprint=plan.fingerprint,
        keys=plan.keys,
    )
    run = functools.partial(pipeline.run, options=options, workers=workers, progress=progress)
    return _existing(job) or _run_alone(job, plan, listing, run)


def _check_asked(
    face: str | None, workers: int, shards: int | None, *, ends: tuple[str, str]
) -> None:
    if workers < 1 or (shards is not None and shards < 1):
        raise ConfigError("--workers and --shards must be at least 1.")
    faces.check_choice(face)
    _check_places(*ends)


def _facts(
    face: str | None, gates: Gates, split: SpeakerSplit | ValSplit, shards: int | None
) -> dict[str, Any]:
    """What the records and their files depend on besides the raw data."""
    return {
        "face": face,
        "gates": dataclasses.asdict(gates),
        "speaker_split": dataclasses.asdict(split) if isinstance(split, SpeakerSplit) else None,
        "val_split": dataclasses.asdict(split) if isinstance(split, ValSplit) else None,
        "shards": shards,
    }


def _run_alone(
    job: Job, plan: "_Plan", listing: Listing, run: Callable[..., None]
) -> PrepareSummary:
    """Prepare what is missing while no other process writes to the folder.

    Raises:
      ConfigError: another one does.
    """
    with places.locked(job.work) as alone:
        if not alone:
            raise ConfigError(
                f"another `talkface prepare` is writing to {job.out}; wait for it or give another "
                "--out."
            )
        finished = _existing(job)  # the other one may have come to its end just now
        if finished is None:
            _start(job, _largest_first(plan), listing)
            run(job, total=len(plan.tasks))
            finished = _end(job, len(plan.tasks) + len(listing.problems))
    return finished


def _check_places(raw: str, out: str) -> None:
    """Refuse to write into the raw data itself.

    Raises:
      ConfigError: both are the same place.
    """
    if places.is_remote(raw) or places.is_remote(out):
        same = raw.rstrip("/") == out.rstrip("/")
    else:
        same = os.path.realpath(raw) == os.path.realpath(out)
    if same:
        raise ConfigError(f"--raw and --out are both {out}; give another --out.")


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


def _listing(
    dataset: str, found: tree.Tree, split: SpeakerSplit | ValSplit, protocol: str
) -> Listing:
    """The clips by name, in the splits that were asked for.

    Raises:
      TalkfaceError: no clip, two of one name, a tree that is not of that data set, or a protocol
        that it does not have or does not fit.
    """
    protocols = datasets.get_protocols(dataset, protocol)
    listing = datasets.get_adapter(dataset).list_clips(found)
    if not listing.clips and not listing.problems:
        raise MediaError(f"--raw={found.root} holds no clip; check the path and the --dataset.")
    clips = sorted(listing.clips, key=lambda info: info.clip)
    for first, second in itertools.pairwise(clips):
        if first.clip == second.clip:
            raise MediaError(
                f"{first.video} and {second.video} are both clip {first.clip}; rename one."
            )
    if protocol:
        clips = protocols[protocol](clips)
    listing = dataclasses.replace(listing, clips=tuple(clips))
    if isinstance(split, SpeakerSplit):
        listing = splits.split_speakers(listing, **dataclasses.asdict(split))
    else:
        listing = splits.with_val(listing, split)
    tfds_info.check_names(dataset, sorted({info.split for info in listing.clips}))
    return listing


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The tasks in the order of clips, the sizes of their videos, `Job.fingerprint`, `Job.keys`."""

    tasks: list[ClipTask]
    sizes: list[int]
    fingerprint: str
    keys: str


def _plan(clips: Sequence[ClipInfo], found: tree.Tree, facts: Mapping[str, Any]) -> _Plan:
    options = {name: facts[name] for name in ("face", "gates")}
    versions = jobs.record_versions()
    tasks, sizes, identities = [], [], []
    for number, info in enumerate(clips):
        files = [_stamp(found, path) for path in (info.video, info.audio) if path]
        identities.append(jobs.clip_identity(info, files, options))
        tasks.append(ClipTask(number, jobs.clip_key(identities[-1], versions), info))
        sizes.append(files[0][0])
    # What became of these is in the clips: two that give the same splits give the same set.
    in_clips = ("val_split", "protocol")
    asked = json.dumps({k: v for k, v in facts.items() if k not in in_clips}, sort_keys=True)
    keys = jobs.digest([*(task.key for task in tasks), asked])
    return _Plan(tasks, sizes, jobs.digest([*identities, asked]), keys)


def _stamp(found: tree.Tree, path: str) -> tuple[int, int]:
    try:
        entry = found.entry(path)
    except MediaError:  # its absence is reported when the clip's turn comes
        return (-1, -1)
    return entry.size, entry.stamp


def _largest_first(plan: _Plan) -> list[ClipTask]:
    """Beam's local runner deals clips out to its workers like cards.

    With the largest first, the hands differ by no more than one clip.
    """
    order = sorted(range(len(plan.tasks)), key=lambda i: (-plan.sizes[i], i))
    return [plan.tasks[i] for i in order]


def _start(job: Job, tasks: Sequence[ClipTask], listing: Listing) -> None:
    """Make the folders ready for a run, after whatever an earlier one left.

    Clips that failed are tried again, and half-written files go: nobody else is writing here.
    """
    crashes.settle(job)
    for name in places.names(job.work):
        if name.endswith(jobs.FAILED) or ".tmp-" in name:
            places.delete(places.join(job.work, name))
    jobs.remove_half_written(job.out)
    jobs.write_listing(job, notes=listing.notes, problems=listing.problems)
    jobs.write_tasks(job, tasks)


def _end(job: Job, total: int) -> PrepareSummary:
    """The summary of a finished run, whose work folder goes.

    Raises:
      TalkfaceError: too many clips failed.
    """
    if places.exists(places.join(job.out, manifest.MANIFEST)):
        made = _read_manifest(job.out)
        places.delete_folder(job.work)
        return summarise(job.out, made, made=True)
    place = places.join(job.out, manifest.FAILURES)
    rows = jobs.read_rows(place)
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
        manifest.check_finished(job.out, found.shards)
    for shard in found.shards if places.is_remote(job.out) else ():
        place = places.join(job.out, shard.name)
        if places.size(place) != shard.size or places.size(f"{place}.index.json") < 1:
            raise RecordError(
                f"shard {place} or its index is missing or altered; {remedy.prepare_anew(job.out)}"
            )
    places.delete_folder(job.work)  # of a run that was killed while it removed it
    return summarise(job.out, found, made=False)


def _read_manifest(out: str) -> manifest.Manifest:
    with places.local_files(out, manifest.MANIFEST) as folder:
        try:
            return manifest.read_manifest(folder)
        except RecordError as error:
            if not places.is_remote(out):
                raise
            # It names the local copy.
            raise RecordError(str(error).replace(str(folder), out)) from error


def summarise(out: str, found: manifest.Manifest, *, made: bool) -> PrepareSummary:
    """What the manifest of a finished directory says, for the user.

    Args:
      out: the directory.
      found: its manifest.
      made: whether this run came to its end, or only found it there.
    """
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
        made=made,
    )
