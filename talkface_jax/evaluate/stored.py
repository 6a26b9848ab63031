"""scores.json read back: checked field by field, since a file may be anybody's."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.evaluate.scores import SCHEMA, ClipScore

KINDS = ("benchmark", "motion")
_MAKE = "make it with talkface evaluate"


@dataclasses.dataclass(frozen=True)
class StoredScores:
    """What a comparison needs of a scores.json.

    Attributes:
      rows: row -> clip -> its score, rows in the order of the table.
      run, conventions: topic -> text.
    """

    path: pathlib.Path
    kind: str
    systems: tuple[str, ...]
    rows: Mapping[str, Mapping[str, ClipScore]]
    run: Mapping[str, str]
    conventions: Mapping[str, str]


def read_scores(path: pathlib.Path) -> StoredScores:
    """The scores of an evaluation.

    Args:
      path: a scores.json of schema 2.

    Raises:
      RecordError: it cannot be read, is none, or was written by another version.
    """
    document = _document(path)
    try:
        return _stored(path, document)
    except _Wrong as error:
        raise RecordError(f"{path} is not a scores.json ({error}); {_MAKE}") from error


def _document(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecordError(f"{path} cannot be read ({reason}); name a scores.json") from error
    except ValueError as error:
        raise RecordError(f"{path} is not text, so no scores.json; {_MAKE}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not JSON ({error}); {_MAKE}") from error
    if not isinstance(document, dict) or "schema" not in document or "rows" not in document:
        raise RecordError(f"{path} is JSON but not a scores.json; {_MAKE}")
    schema = document["schema"]
    if type(schema) is not int or schema < 1:
        raise RecordError(f"{path} is not a scores.json (its schema is {_short(schema)}); {_MAKE}")
    if schema != SCHEMA:
        age, remedy = ("an older", "evaluate again") if schema < SCHEMA else ("a newer", "update")
        raise RecordError(f"{path} was written by {age} version (schema {schema}); {remedy}")
    return document


class _Wrong(Exception):
    """Names a field that is not what it should be."""


def _stored(path: pathlib.Path, document: Mapping[str, Any]) -> StoredScores:
    kind = _text(document, "kind")
    if kind not in KINDS:
        raise _Wrong(f"its kind is {_short(kind)}")
    rows: dict[str, dict[str, ClipScore]] = {
        row: {} for row in _field(document, "rows", dict, "an object")
    }
    for number, item in enumerate(_field(document, "clips", list, "a list")):
        place = f"clips[{number}]"
        if not isinstance(item, dict):
            raise _Wrong(f"{place} is not an object")
        clip = _clip(item, place)
        if clip.clip in rows.setdefault(clip.row, {}):
            raise _Wrong(f"{place} repeats clip {_short(clip.clip)} of row {_short(clip.row)}")
        rows[clip.row][clip.clip] = clip
    systems = _field(document, "systems", list, "a list")
    if not systems or not all(isinstance(name, str) for name in systems):
        raise _Wrong("systems is not a list of names")
    return StoredScores(
        path=path,
        kind=kind,
        systems=tuple(systems),
        rows=rows,
        run=_texts(document, "run"),
        conventions=_texts(document, "conventions"),
    )


def _clip(item: Mapping[str, Any], place: str) -> ClipScore:
    values = _field(item, "values", dict, "an object", place)
    notes = _field(item, "notes", list, "a list", place)
    return ClipScore(
        clip=_text(item, "clip", place),
        row=_text(item, "row", place),
        frames=_count(item, "frames", place),
        faceless=_count(item, "faceless", place),
        lost=_count(item, "lost", place),
        values={name: _number(x, f"{place}.values.{name}") for name, x in values.items()},
        lag_curve=_numbers(item, "lag_curve", place),
        opening=_numbers(item, "opening", place),
        speaker=_text(item, "speaker", place),
        groups=_texts(item, "groups", place),
        notes=tuple(str(note) for note in notes),
    )


def _field(item: Mapping[str, Any], name: str, kind: type, noun: str, place: str = "") -> Any:
    where = f"{place}.{name}" if place else name
    if name not in item:
        raise _Wrong(f"{where} is missing")
    if not isinstance(item[name], kind) or isinstance(item[name], bool):
        raise _Wrong(f"{where} is not {noun}")
    return item[name]


def _text(item: Mapping[str, Any], name: str, place: str = "") -> str:
    return _field(item, name, str, "a text", place)


def _texts(item: Mapping[str, Any], name: str, place: str = "") -> dict[str, str]:
    found = _field(item, name, dict, "an object", place)
    if not all(isinstance(text, str) for text in found.values()):
        raise _Wrong(f"{place + '.' if place else ''}{name} holds something else than texts")
    return found


def _count(item: Mapping[str, Any], name: str, place: str) -> int:
    count = _field(item, name, int, "a number of frames", place)
    if count < 0:
        raise _Wrong(f"{place}.{name} is negative")
    return count


def _number(value: Any, where: str) -> float:
    """A number, NaN where it is null."""
    if value is None:
        return math.nan
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, str) or not math.isfinite(number):
        raise _Wrong(f"{where} is {_short(value)}, not a number")
    return number


def _numbers(item: Mapping[str, Any], name: str, place: str) -> np.ndarray:
    found = _field(item, name, list, "a list", place)
    return np.asarray([_number(value, f"{place}.{name}") for value in found], np.float64)


def _short(value: Any) -> str:
    """A value as it fits into a sentence."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 40 else f"{text[:39]}…"
