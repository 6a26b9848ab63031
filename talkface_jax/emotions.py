"""Emotions as numbers: what a label, a mix of names or a table of weights says.

An emotion is a vector of (8,) float32 in the order of `EMOTIONS`, each entry weight * level / 3: 1
is an emotion at the highest level of the data sets (MEAD's 1 to 3). Neutral is the absence of all
others, so its vector is zero, its own entry too. Blends are convex mixes, and more than level 3
gives entries above 1.

Importing it loads NumPy alone.
"""

import csv
import dataclasses
import math
import numbers
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from talkface_jax.errors import ConfigError

EMOTIONS = (
    "angry",
    "contempt",
    "disgusted",
    "fear",
    "happy",
    "neutral",
    "sad",
    "surprised",
)
LEVELS = 3
"""The highest level of a label; 1 is the lowest."""
NEUTRAL = EMOTIONS.index("neutral")
CONTEMPT = EMOTIONS.index("contempt")
"""Shows on one side of the face: what shows it may not be mirrored."""
SECONDS = "seconds"
"""The column of times of a track."""

# Of `records.FPS`, which lies a layer above.
_FPS = 25
_SLACK = 1e-6
_NAMES = f"one of {', '.join(EMOTIONS)}, or a mix of them such as happy:0.6,surprised:0.4"


def of_label(emotion: int, level: int) -> Float32[np.ndarray, "8"]:
    """The vector of a labelled clip; a neutral one needs no level.

    Args:
      emotion: index into `EMOTIONS`.
      level: 1 to `LEVELS`.

    Raises:
      ValueError: no such label, as -1 for an unknown one.
    """
    vector = np.zeros(len(EMOTIONS), np.float32)
    if emotion == NEUTRAL:
        return vector
    if not 0 <= emotion < len(EMOTIONS):
        raise ValueError(f"{emotion} is the index of no emotion")
    if not 1 <= level <= LEVELS:
        raise ValueError(f"{level} is no level from 1 to {LEVELS}")
    vector[emotion] = level / LEVELS
    return vector


def read_mix(given: Any) -> Float32[np.ndarray, "8"]:
    """The weights of a mix, neutral's left out: it is what the others leave.

    Args:
      given: a name ("happy"), a text of names and weights ("happy:0.6,surprised:0.4"), a mapping
        from names to weights, or an array (8,). Weights are at least 0, their sum at most 1.

    Raises:
      ValueError, TypeError: it is none; the text says what it must be.
    """
    if isinstance(given, str):
        given = _pairs(given)
    if isinstance(given, Mapping):
        weights = np.zeros(len(EMOTIONS))
        for name, weight in given.items():
            if name not in EMOTIONS:
                raise ValueError(_NAMES)
            weights[EMOTIONS.index(name)] = _number(weight)
    else:
        weights = _numbers(given, f"{_NAMES}, or an array of {len(EMOTIONS)} weights")
        if weights.shape != (len(EMOTIONS),):
            raise ValueError(f"an array of {len(EMOTIONS)} weights")
    return _convex(weights)


def read_mixes(given: Any) -> Float32[np.ndarray, "*t 8"]:
    """As `read_mix`, or the weights of every frame: an array (t, 8) with at least one row.

    Raises:
      ValueError, TypeError: it is none; the text says what it must be.
    """
    if isinstance(given, str | Mapping):
        return read_mix(given)
    words = f"an array of {len(EMOTIONS)} weights for every frame"
    weights = _numbers(given, f"{_NAMES}, or {words}")
    if weights.ndim != 2:
        return read_mix(given)
    if not len(weights) or weights.shape[1] != len(EMOTIONS):
        raise ValueError(words)
    return _convex(weights)


def _pairs(text: str) -> dict[str, float]:
    """Names and weights of a mix's text."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, weight = (item.strip() for item in part.partition(":"))
        if name not in EMOTIONS:
            raise ValueError(_NAMES)
        if name in found:
            raise ValueError(f"a mix that names {name} once")
        found[name] = _number(weight) if colon else 1.0
    return found


def _number(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, str | numbers.Real):
        raise TypeError("a mix whose weights are numbers")
    try:
        return float(given)
    except ValueError:
        raise ValueError("a mix whose weights are numbers") from None


def _numbers(given: Any, words: str) -> Float64[np.ndarray, "..."]:
    try:
        return np.array(given, np.float64)
    except (ValueError, TypeError):
        raise ValueError(words) from None


def _convex(weights: Float[np.ndarray, "*t 8"]) -> Float32[np.ndarray, "*t 8"]:
    """Weights that are checked, without neutral's.

    Raises:
      ValueError: weights that are below 0, sum to more than 1 or are not finite.
    """
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("a mix whose weights are finite and at least 0")
    if (weights.sum(-1) > 1 + _SLACK).any():
        raise ValueError("a mix whose weights sum to at most 1")
    weights = weights.astype(np.float32)
    weights[..., NEUTRAL] = 0
    return weights


@dataclasses.dataclass(frozen=True, eq=False)
class EmotionTrack:
    """Weights that change over time: linear between rows, held before the first and after the last.

    Attributes:
      seconds: times of the rows, ascending.
      weights: mixes (`read_mix`), which a level multiplies.

    Raises:
      ValueError: no row, times that do not ascend, or weights that are no mix.
    """

    seconds: Float64[np.ndarray, " n"]
    weights: Float32[np.ndarray, "n 8"]

    def __post_init__(self) -> None:
        seconds, weights = np.asarray(self.seconds, np.float64), read_mixes(self.weights)
        fits = weights.ndim == 2 and seconds.shape == (len(weights),)
        if not fits or not np.isfinite(seconds).all():
            raise ValueError("a track with one finite time for every row of weights")
        if (np.diff(seconds) <= 0).any():
            raise ValueError("a track whose times ascend")
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "weights", weights)

    def at(self, times: Float[np.ndarray, " t"]) -> Float32[np.ndarray, "t 8"]:
        """The weights at these seconds."""
        columns = [np.interp(times, self.seconds, column) for column in self.weights.T]
        return np.stack(columns, -1).astype(np.float32)


def read_track(given: str | pathlib.Path | EmotionTrack) -> EmotionTrack:
    """The track of a CSV file; one that is read already is given back.

    The first line names the columns: `seconds` and any of `EMOTIONS`; one that is left out has
    weight 0. Every other line is a mix: weights of at least 0 whose sum is at most 1, at a time
    after that of the line before.

    Raises:
      ValueError, TypeError: it is no such file; the text says what it must be, and names the line.
      OSError: it cannot be read.
    """
    if isinstance(given, EmotionTrack):
        return given
    if not isinstance(given, str | pathlib.Path):
        raise TypeError("the path of a CSV file of emotions")
    try:
        with open(given, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"a CSV file of emotions (it is no CSV file: {error})") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise ValueError("a CSV file of emotions (it is empty)")
    columns = rows[0][1]
    _check_columns(columns, line=rows[0][0])
    if not rows[1:]:
        raise ValueError("a CSV file of emotions (it has no line below the names of its columns)")
    seconds, weights = [], np.zeros((len(rows) - 1, len(EMOTIONS)), np.float32)
    for k, (line, cells) in enumerate(rows[1:]):
        numbers_of = _cells(columns, cells, line=line)
        seconds.append(numbers_of.pop(SECONDS))
        if k and seconds[k] <= seconds[k - 1]:
            words = f"{seconds[k]:g} seconds do not come after {seconds[k - 1]:g}"
            raise ValueError(f"a CSV file of emotions (line {line}: {words})")
        try:
            weights[k] = read_mix(numbers_of)
        except ValueError as error:
            raise ValueError(f"a CSV file of emotions (line {line} must be {error})") from None
    return EmotionTrack(np.array(seconds), weights)


def _check_columns(columns: Sequence[str], *, line: int) -> None:
    where = f"a CSV file of emotions (line {line}"
    known = {SECONDS, *EMOTIONS}
    for name in columns:
        if name not in known:
            words = f"there is no column {name!r}, but {SECONDS}, {', '.join(EMOTIONS)}"
            raise ValueError(f"{where}: {words})")
        if columns.count(name) > 1:
            raise ValueError(f"{where}: two columns are called {name})")
    if SECONDS not in columns or len(columns) < 2:
        raise ValueError(f"{where} must name {SECONDS} and at least one emotion)")


def _cells(columns: Sequence[str], cells: Sequence[str], *, line: int) -> dict[str, float]:
    """The numbers of a line by column."""
    where = f"a CSV file of emotions (line {line}"
    if len(cells) != len(columns):
        raise ValueError(f"{where} has {len(cells)} cells, but there are {len(columns)} columns)")
    found: dict[str, float] = {}
    for name, cell in zip(columns, cells, strict=True):
        try:
            found[name] = float(cell)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise ValueError(f"{where}: {name} is {cell!r}, which is no number)") from None
    return found


def requested(controls: Mapping[str, Any], frames: int) -> Float32[np.ndarray, "t 8"] | None:
    """The emotion that is asked for in every frame; None where none is.

    Args:
      controls: of `records.Controls`, `emotion` or `emotion_track`, and `level` (3 where it is left
        out). An `emotion` of (t, 8) is held at its last row, and cut where it is longer.
      frames: how many, 25 a second.

    Raises:
      ConfigError: controls that do not fit each other.
      ValueError, TypeError: a value that is none (`read_mix`, `read_track`).
    """
    mix, track, level = (controls.get(name) for name in ("emotion", "emotion_track", "level"))
    if mix is not None and track is not None:
        raise ConfigError(
            "--emotion and --emotion-track both say what the face shows; leave one of them out"
        )
    if mix is None and track is None:
        if level is not None:
            raise ConfigError(
                "--level says how strong an emotion is, and there is none; give --emotion or "
                "--emotion-track too, or leave it out"
            )
        return None
    if track is not None:
        weights = read_track(track).at(np.arange(frames) / _FPS)
    else:
        mixes = np.atleast_2d(read_mixes(mix))
        weights = mixes[np.minimum(np.arange(frames), len(mixes) - 1)]
    return (weights * ((LEVELS if level is None else level) / LEVELS)).astype(np.float32)


def of_face(controls: Mapping[str, Any]) -> Float32[np.ndarray, "8"] | None:
    """What the face in the picture shows, as the control `face_emotion` says; None where it is to
    be read off the face ("auto").

    Its weights are the vector itself: 1 is level 3. Where nothing is said it is neutral.

    Raises:
      ValueError, TypeError: a value that is none (`read_mix`).
    """
    given = controls.get("face_emotion", "neutral")
    return None if isinstance(given, str) and given == "auto" else read_mix(given)
