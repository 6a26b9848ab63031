"""What must be true of the records of a prepared directory together: clips, tables, splits."""

import collections
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from talkface_jax.data.inspect import Facts, Fault
from talkface_jax.data.manifest import CLIPS, FAILURES, Manifest
from talkface_jax.data.schema import CONTEXT_SAMPLES
from talkface_jax.records import SAMPLES_PER_FRAME, ClipInfo

_LARGEST = 1e300
_INFO = tuple(field.name for field in dataclasses.fields(ClipInfo))


def by_clip(facts: Iterable[Facts]) -> dict[str, list[Facts]]:
    """The records of each clip, in order of time."""
    clips: dict[str, list[Facts]] = {}
    for fact in facts:
        clips.setdefault(fact.clip, []).append(fact)
    return {name: sorted(clips[name], key=lambda fact: fact.start) for name in sorted(clips)}


def clip_faults(
    segments: Sequence[Facts], row: Mapping[str, Any] | None, *, complete: bool
) -> Iterator[Fault]:
    """Faults of one clip.

    Args:
      segments: its records in order of time.
      row: its line of clips.jsonl, if there is one.
      complete: every record could be read, so that what is missing is missing in the clip.
    """
    first = segments[0]
    for name in _INFO:
        values = {getattr(segment.info, name) for segment in segments}
        if len(values) > 1:
            listed = ", ".join(map(repr, sorted(values)))
            yield Fault("segments", f"its segments disagree on {name}: {listed}")
    dropped = row is None or _dropped(row) != 0
    if first.start and complete and not dropped:
        yield Fault("segments", f"frames 0 to {first.start - 1} are missing, no segment dropped")
    for one, two in itertools.pairwise(segments):
        end = one.start + one.frames
        if two.start < end:
            yield Fault("segments", f"frames {two.start} to {end - 1} are stored twice")
        elif two.start > end:
            if complete and not dropped:
                what = f"frames {end} to {two.start - 1} are missing, no segment dropped"
                yield Fault("segments", what)
        else:
            yield from _sound_faults(one, two)
    if row is not None and complete:
        yield from _row_faults(segments, row)


def _sound_faults(one: Facts, two: Facts) -> Iterator[Fault]:
    """Of two segments that follow each other: each keeps 0.2 s of the other's sound."""
    border = f"the border at frame {two.start}"
    if one.after.samples != min(CONTEXT_SAMPLES, two.frames * SAMPLES_PER_FRAME):
        yield Fault("audio", f"{one.after.samples} samples of context before {border}")
    elif one.after.samples == two.head.samples and one.after != two.head:
        yield Fault("audio", f"the context before {border} is not the sound that follows")
    if two.before.samples == one.tail.samples and two.before != one.tail:
        yield Fault("audio", f"the context after {border} is not the sound that went before")


def _row_faults(segments: Sequence[Facts], row: Mapping[str, Any]) -> Iterator[Fault]:
    info = segments[0].info
    for name in _INFO:
        if name in row and row[name] != getattr(info, name):
            yield Fault(
                "clips", f"{CLIPS} says {name} {row[name]!r}, the record {getattr(info, name)!r}"
            )
    if _dropped(row) is None:
        yield Fault("clips", f"{CLIPS} says {row['dropped_segments']!r} dropped_segments")
    if _quality(row) is None:
        yield Fault("clips", f"{CLIPS} says quality {row['quality']!r}, which is no measurement")
    for name, attribute in (("frames", "frames"), ("valid_frames", "valid")):
        total = sum(getattr(segment, attribute) for segment in segments)
        if name in row and row[name] != total:
            yield Fault("clips", f"{CLIPS} says {row[name]} {name}, the records hold {total}")


def _dropped(row: Mapping[str, Any]) -> int | None:
    """How many segments a line says were left out; None where it says something else."""
    value = row.get("dropped_segments", 0)
    counts = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if counts else None


def _quality(row: Mapping[str, Any]) -> Mapping[str, float] | None:
    """What a line says was measured, perhaps nothing; None where that is not numbers by name."""
    value = row.get("quality", {})
    if not isinstance(value, dict):
        return None
    return value if all(map(_is_number, value.values())) else None


def _is_number(value: Any) -> bool:
    """Whether it is a finite number; JSON as Python reads it has NaN and integers of any size."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < _LARGEST


def offsets(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    """Speaker, offset of the sound in ms and confidence of every clip on which it was measured."""
    for row in rows:
        measured, speaker = _quality(row) or {}, row.get("speaker")
        if isinstance(speaker, str) and {"av_offset_ms", "av_confidence"} <= measured.keys():
            yield speaker, measured["av_offset_ms"], measured["av_confidence"]


def read_rows(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[Fault]]:
    """The lines of a JSON-lines file that can be read, and the faults of the others."""
    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    kind = path.stem
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return rows, [Fault(kind, f"{path.name} is missing")]
    except (OSError, ValueError) as error:
        return rows, [Fault(kind, f"{path.name} cannot be read ({error})")]
    # Not splitlines(): names and words may hold other characters that end a line for Unicode.
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines if text else (), start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("clip"), str):
                raise ValueError("no JSON object with a clip")
        except ValueError as error:
            faults.append(Fault(kind, f"line {number} of {path.name} is malformed ({error})"))
        else:
            rows.append(row)
    return rows, faults


def table_faults(
    directory: pathlib.Path, manifest: Manifest, stored: Iterable[str], *, complete: bool
) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """The lines of clips.jsonl by clip, and where the tables and the manifest disagree.

    Args:
      directory: the prepared directory.
      manifest: its manifest.
      stored: names of the clips of which records were read.
      complete: every record could be read.
    """
    listed, faults = read_rows(directory / CLIPS)
    rows: dict[str, dict[str, Any]] = {}
    for row in listed:
        name = f"{row.get('dataset', manifest.dataset)}/{row['clip']}"
        if name in rows:
            faults.append(Fault("clips", f"{CLIPS} has clip {name} twice"))
        rows[name] = row
    have = set(stored)
    if rows:
        missing = sorted(have - set(rows))
        faults += [Fault("clips", f"{CLIPS} lacks clip {name}") for name in missing]
    if complete:
        absent = sorted(set(rows) - have)
        faults += [Fault("clips", f"clip {name} of {CLIPS} has no record") for name in absent]
        if manifest.clips != len(have):
            what = f"the manifest counts {manifest.clips} clips, the records hold {len(have)}"
            faults.append(Fault("manifest", what))
    return rows, faults + _failure_faults(directory, manifest)


def _failure_faults(directory: pathlib.Path, manifest: Manifest) -> list[Fault]:
    """failures.jsonl exists if, and only if, clips failed."""
    path = directory / FAILURES
    if not path.exists() and not manifest.failures:
        return []
    rows, faults = read_rows(path)
    if not faults and len(rows) != len(manifest.failures):
        what = f"{FAILURES} has {len(rows)} rows, the manifest {len(manifest.failures)} failures"
        faults.append(Fault("failures", what))
    return faults


def shared_speakers(clips: Mapping[str, Sequence[Facts]]) -> dict[tuple[str, str], list[str]]:
    """Pairs of splits -> the speakers that both hold, sorted."""
    splits: dict[str, set[str]] = collections.defaultdict(set)
    for segments in clips.values():
        for segment in segments:
            splits[segment.info.split].add(segment.info.speaker)
    pairs = itertools.combinations(sorted(splits), 2)
    return {(a, b): sorted(both) for a, b in pairs if (both := splits[a] & splits[b])}
