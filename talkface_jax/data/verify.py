"""Checks a prepared directory from the manifest down to every crop of every record.

Everything that is wrong is found, not only the first: a record that is damaged hides no other, and
where a shard's framing is damaged the index tells where the next record begins.
"""

import collections
import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from talkface_jax import processes
from talkface_jax.data import store, verify_clips
from talkface_jax.data.inspect import Facts, Fault, Images, RecordReport, inspect_record
from talkface_jax.data.manifest import Manifest, ShardEntry, file_sha256, read_manifest
from talkface_jax.data.schema import RecordMeta
from talkface_jax.data.statistics import Statistics, summarise
from talkface_jax.errors import RecordError, counted

Progress = Callable[[str, int, int], None]
# Records of one unit of work: enough to pay for handing it over, few enough to share evenly.
_BATCH = 8
# Defects of one kind that are kept; all are counted.
KEPT = 20


@dataclasses.dataclass(frozen=True)
class Defect:
    """One thing that is wrong, and where: a file, a record or a clip."""

    kind: str
    place: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
      manifest: of the directory.
      defects: the first `KEPT` of each kind.
      counts: kind -> how many there are.
      notes: what is worth knowing and no defect, a sentence each.
      statistics: of the records that could be read.
    """

    manifest: Manifest
    defects: tuple[Defect, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    statistics: Statistics

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts


class _Defects:
    """Collects defects, the first of each kind in full."""

    def __init__(self) -> None:
        self.kept: list[Defect] = []
        self.counts: collections.Counter[str] = collections.Counter()

    def add(self, place: str, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.counts[fault.kind] += 1
            if self.counts[fault.kind] <= KEPT:
                self.kept.append(Defect(fault.kind, place, fault.reason))


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a record lies in its shard, and what the index says of it, if it does."""

    number: int
    offset: int
    length: int
    crc: int | None
    meta: RecordMeta | None


@dataclasses.dataclass(frozen=True)
class _Job:
    """Records of one shard to be read and checked."""

    path: pathlib.Path
    dataset: str
    split: str
    places: tuple[_Place, ...]
    images: Images


def verify(
    directory: str | os.PathLike[str],
    *,
    workers: int = 1,
    images: Images = Images.ALL,
    speakers_apart: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Checks a prepared directory; the result does not depend on the number of workers.

    Args:
      directory: output of a finished `talkface prepare`.
      workers: processes.
      images: which crops are decoded; that is most of the work.
      speakers_apart: a speaker of two splits is a defect, not a note.
      progress: called as progress("records", done, total) and progress("checksums", done, total).

    Raises:
      RecordError: there is no manifest that can be read.
      TalkfaceError: a worker process died.
    """
    manifest = read_manifest(directory)
    directory = pathlib.Path(directory)
    defects = _Defects()
    jobs: list[_Job] = []
    for entry in manifest.shards:
        places = _shard_places(directory / entry.name, entry, defects)
        for first in range(0, len(places), _BATCH):
            batch = tuple(places[first : first + _BATCH])
            path = directory / entry.name
            jobs.append(_Job(path, manifest.dataset, entry.split, batch, images))
    facts: dict[str, list[Facts]] = {entry.name: [] for entry in manifest.shards}
    with _mapper(workers, len(jobs)) as run:
        _check_hashes(directory, manifest, defects, run, progress)
        total, done = sum(len(job.places) for job in jobs), 0
        for job, reports in zip(jobs, run(_check_records, jobs), strict=True):
            for place, report in zip(job.places, reports, strict=True):
                defects.add(f"{job.path.name}, record {place.number}", report.faults)
                if report.facts is not None:
                    facts[job.path.name].append(report.facts)
            done += len(reports)
            if progress is not None:
                progress("records", done, total)
    notes, rows = _check_together(
        directory, manifest, facts, defects, speakers_apart=speakers_apart
    )
    every = list(itertools.chain.from_iterable(facts.values()))
    statistics = summarise(every, manifest, verify_clips.offsets(rows.values()))
    if statistics.offsets is not None and statistics.offsets.note:
        notes.append(statistics.offsets.note)
    return Verification(
        manifest, tuple(defects.kept), dict(defects.counts), tuple(notes), statistics
    )


@contextlib.contextmanager
def _mapper(workers: int, jobs: int) -> Iterator[Callable[..., Iterable]]:
    """`map` over processes, or the plain one for a single worker."""
    if workers == 1 or jobs < 2:
        yield map
        return
    with processes.pool(min(workers, jobs), prepare=_one_thread) as pool:
        yield pool.map


def _one_thread() -> None:
    """One core a process: OpenCV would start a thread per core in each."""
    import cv2

    cv2.setNumThreads(1)


def _shard_places(path: pathlib.Path, entry: ShardEntry, defects: _Defects) -> list[_Place]:
    """Where the records of a shard lie; finds what is wrong with its size, index and framing."""
    if not path.is_file():
        defects.add(path.name, [Fault("shard", "the file is missing")])
        return []
    size = path.stat().st_size
    if size != entry.size:
        state = "empty" if size == 0 else "truncated" if size < entry.size else "longer"
        what = f"the file is {state}: {size} bytes, the manifest says {entry.size}"
        defects.add(path.name, [Fault("shard", what)])
    try:
        indexed = store.read_index(path).entries
    except RecordError as error:
        indexed = ()
        defects.add(path.name, [Fault("index", str(error))])
    places: list[_Place] = []
    by_offset = {item.offset: item for item in indexed}
    for found in _walk(path, sorted(by_offset)):
        if isinstance(found, Fault):
            defects.add(path.name, [found])
            continue
        offset, length = found
        item = by_offset.pop(offset, None)
        if item is None or item.length != length:
            if indexed:
                what = f"it does not list the record of {length} bytes at byte {offset}"
                defects.add(path.name, [Fault("index", what)])
            item = None
        crc, meta = (item.crc, item.meta) if item else (None, None)
        places.append(_Place(len(places), offset, length, crc, meta))
    for offset in by_offset:
        what = f"it lists a record at byte {offset}, where none can be read"
        defects.add(path.name, [Fault("index", what)])
    defects.add(path.name, _count_faults(entry, places, indexed))
    return places


def _count_faults(
    entry: ShardEntry, places: Sequence[_Place], indexed: Sequence[store.IndexEntry]
) -> Iterator[Fault]:
    """The manifest's counts against the shard and its index."""
    if len(places) != entry.records:
        what = f"it counts {entry.records} records, the shard holds {len(places)}"
        yield Fault("manifest", what)
    if not indexed:
        return
    for name, attribute in (("frames", "frames"), ("valid_frames", "valid")):
        counted = sum(getattr(item.meta, attribute) for item in indexed)
        if getattr(entry, name) != counted:
            what = f"it counts {getattr(entry, name)} {name}, the index {counted}"
            yield Fault("manifest", what)


def _walk(path: pathlib.Path, known: Sequence[int]) -> Iterator[tuple[int, int] | Fault]:
    """Offset and length of every record by the shard's own framing, and where that is damaged.

    Args:
      path: the shard.
      known: offsets of records by the index, from which to go on after damage.
    """
    size, at = path.stat().st_size, 0
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(store.HEADER.size)
            if len(header) == store.HEADER.size:
                length, crc = store.HEADER.unpack(header)
                start = at + store.HEADER.size
                end = start + length + store.FOOTER.size
                if store.masked_crc(header[:8]) == crc and end <= size:
                    yield start, length
                    at = end
                    continue
            later = [
                offset - store.HEADER.size for offset in known if offset - store.HEADER.size > at
            ]
            until = min(later, default=size)
            yield Fault("record", f"no whole record in bytes {at} to {until - 1}")
            at = until


def _check_hashes(
    directory: pathlib.Path,
    manifest: Manifest,
    defects: _Defects,
    run: Callable[..., Iterable[str]],
    progress: Progress | None,
) -> None:
    # Of a shard with another size it is known already that it was altered.
    entries = [
        entry
        for entry in manifest.shards
        if (path := directory / entry.name).is_file() and path.stat().st_size == entry.size
    ]
    paths = [directory / entry.name for entry in entries]
    for done, (entry, found) in enumerate(zip(entries, run(file_sha256, paths), strict=True), 1):
        if found != entry.sha256:
            fault = Fault("shard", f"SHA-256 {found[:12]}…, the manifest says {entry.sha256[:12]}…")
            defects.add(entry.name, [fault])
        if progress is not None:
            progress("checksums", done, len(entries))


def _check_records(job: _Job) -> list[RecordReport]:
    """One report for each record of the job."""
    with open(job.path, "rb") as file:
        return [_check_record(file.fileno(), job, place) for place in job.places]


def _check_record(descriptor: int, job: _Job, place: _Place) -> RecordReport:
    try:
        block = os.pread(descriptor, place.length + store.FOOTER.size, place.offset)
    except OSError as error:
        return RecordReport((Fault("record", f"it cannot be read ({error.strerror})"),), None)
    data, stored = block[: -store.FOOTER.size], store.FOOTER.unpack(block[-store.FOOTER.size :])[0]
    crc = store.masked_crc(data)
    if crc != stored:
        return RecordReport((Fault("record", "the checksum is wrong, bytes were altered"),), None)
    report = inspect_record(
        data, dataset=job.dataset, split=job.split, meta=place.meta, images=job.images
    )
    if place.crc not in (None, crc):
        fault = Fault("index", "the index has another checksum of the record")
        return RecordReport((*report.faults, fault), report.facts)
    return report


def _check_together(
    directory: pathlib.Path,
    manifest: Manifest,
    facts: Mapping[str, Sequence[Facts]],
    defects: _Defects,
    *,
    speakers_apart: bool,
) -> tuple[list[str], Mapping[str, Mapping[str, Any]]]:
    """What the records must be together; returns the notes and the lines of clips.jsonl."""
    complete = all(len(facts[entry.name]) == entry.records for entry in manifest.shards)
    clips = verify_clips.by_clip(itertools.chain.from_iterable(facts.values()))
    rows, faults = verify_clips.table_faults(directory, manifest, clips, complete=complete)
    defects.add(str(directory), faults)
    for name, segments in clips.items():
        row = rows.get(name)
        defects.add(f"clip {name}", verify_clips.clip_faults(segments, row, complete=complete))
    licences = {segment.info.licence for segments in clips.values() for segment in segments}
    for licence in sorted(licences - set(manifest.licences)):
        defects.add(str(directory), [Fault("manifest", f"it lacks the licence {licence!r}")])
    notes = [*_notes(manifest, directory, defects), *_stray(directory, manifest)]
    for (one, two), speakers in verify_clips.shared_speakers(clips).items():
        listed = ", ".join(speakers[:5]) + (", …" if len(speakers) > 5 else "")
        what = f"splits {one} and {two} share {counted(len(speakers), 'speaker')} ({listed})"
        if speakers_apart:
            defects.add(str(directory), [Fault("speakers", what)])
        else:
            notes.append(what)
    if not complete:
        notes.append("some records could not be read; clips were compared as far as they could")
    return notes, rows


def _notes(manifest: Manifest, directory: pathlib.Path, defects: _Defects) -> Sequence[str]:
    """What the adapter found odd."""
    notes = manifest.lineage.get("notes", ())
    if isinstance(notes, list | tuple) and all(isinstance(note, str) for note in notes):
        return notes
    fault = Fault("manifest", f"its notes are no list of sentences but {notes!r}")
    defects.add(str(directory), [fault])
    return ()


def _stray(directory: pathlib.Path, manifest: Manifest) -> Iterator[str]:
    """Shards and left-overs that the manifest does not know."""
    known = {name for entry in manifest.shards for name in (entry.name, f"{entry.name}.index.json")}
    strays = sorted(
        path.name
        for path in directory.iterdir()
        if path.name not in known and (".tfrecord" in path.name or ".tmp-" in path.name)
    )
    if strays:
        listed = ", ".join(strays[:5]) + (", …" if len(strays) > 5 else "")
        yield f"{len(strays)} files are not of the manifest: {listed}"
