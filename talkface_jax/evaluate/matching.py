"""What a user says of names: a regular expression, or a table of pairs."""

import csv
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping

from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate.naming import Ends, bare

PATTERN_LENGTH = 500
PATH_LENGTH = 1000
SECONDS = 10.0
"""A pattern may be this long, see this much of a path (its end), and search all for this long."""
_EXAMPLE = r"--match='(.+)_result\.mp4'"
# Python's regular expressions cannot be interrupted and may need exponential time on 30 letters,
# so the search runs in a process of its own, which can be ended.
_SEARCH = """
import json, re, sys
pattern, group, paths = json.load(sys.stdin)
expression = re.compile(pattern)
found = {}
for name, path in paths.items():
    hit = expression.search(path)
    if hit and hit[group]:
        found[name] = hit[group]
json.dump(found, sys.stdout)
"""


def names_of(pattern: str, paths: Mapping[str, str], *, seconds: float = SECONDS) -> dict[str, str]:
    """What the pattern's group takes of each path in which the pattern is found.

    Args:
      pattern: with one group, or one named clip; at most 500 characters.
      paths: name -> relative path with suffix, of which the last 1000 characters are searched.
      seconds: in which all must be done.

    Raises:
      TalkfaceError: no such pattern, too slow, or found in no path.
    """
    group = _group(pattern)
    cut = {name: path[-PATH_LENGTH:] for name, path in paths.items()}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([pattern, group, cut]),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise TalkfaceError(
            f"--match={pattern} takes over {seconds:g} s for {len(paths)} names; write it without "
            "a repeat inside a repeat"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["it was ended"])[-1]
        raise TalkfaceError(
            f"--match={pattern} cannot be searched ({reason}); write a simpler one"
        ) from error
    found = json.loads(done.stdout)
    if paths and not found:
        example = next(iter(paths.values()))
        raise TalkfaceError(
            f"--match={pattern} fits none of {len(paths)} predictions, such as {example}; mend it"
        )
    return found


def _group(pattern: str) -> str | int:
    """The group that holds the clip's name."""
    if len(pattern) > PATTERN_LENGTH:
        raise TalkfaceError(
            f"--match has {len(pattern)} characters, at most {PATTERN_LENGTH} are taken; use a "
            "table of pairs"
        )
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise TalkfaceError(
            f"--match={pattern} is no regular expression ({error}); write one such as {_EXAMPLE}"
        ) from error
    if "clip" in expression.groupindex:
        return "clip"
    if expression.groups != 1:
        raise TalkfaceError(
            f"--match={pattern} has {expression.groups or 'no'} groups; put the clip's name in "
            f"one, as {_EXAMPLE}, or in (?P<clip>...)"
        )
    return 1


def read_table(
    path: pathlib.Path, *, truth: Mapping[str, object], pred: Mapping[str, object]
) -> dict[str, str]:
    """Pairs that a csv file names: clip -> prediction, both by their relative path without suffix.

    The file is UTF-8 with the columns truth and pred (others are passed over); a cell holds a
    relative path, with or without suffix, or a name that is the only one of its kind.

    Args:
      path: of the csv file.
      truth, pred: what there is, by relative path without suffix.

    Raises:
      TalkfaceError: no readable csv file, a column is missing, a cell names no file or several, or
        a clip or prediction stands in two rows.
    """
    known = {"truth": Ends(truth), "pred": Ends(pred)}
    seen: dict[str, dict[str, int]] = {"truth": {}, "pred": {}}
    pairs: dict[str, str] = {}
    for line, row in _rows(path):
        names = {}
        for column in ("truth", "pred"):
            name = names[column] = _look_up(path, line, column, row[column], known[column])
            before = seen[column].setdefault(name, line)
            if before != line:
                raise TalkfaceError(
                    f"{path} names {name} in lines {before} and {line} of column {column}; "
                    "keep one of them"
                )
        pairs[names["truth"]] = names["pred"]
    if not pairs:
        raise TalkfaceError(f"{path} has no pair below its first line; write one a line")
    return pairs


def _rows(path: pathlib.Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row that is not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            if header.count("truth") != 1 or header.count("pred") != 1:
                raise TalkfaceError(
                    f"{path} has the columns {', '.join(header) or 'none'}; name two of them truth "
                    "and pred in its first line, separated by commas"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TalkfaceError(
            f"{path} cannot be read as a csv file ({reason}); save it as UTF-8 text with the "
            "columns truth,pred"
        ) from error
    return [
        (line, {column: (row[column] or "").strip() for column in ("truth", "pred")})
        for line, row in rows
    ]


def _look_up(path: pathlib.Path, line: int, column: str, cell: str, known: Ends) -> str:
    if not cell:
        raise TalkfaceError(f"{path} line {line} has no {column}; fill it in or delete the line")
    found, common = known.find(bare(cell))
    # A folder that is written must be there: a name alone is no answer to a path.
    found = [name for name in found if common in (0, *(p.count("/") + 1 for p in (name, cell)))]
    if len(found) == 1:
        return found[0]
    kind = "true clip" if column == "truth" else "prediction"
    problem = f"fits {len(found)} files" if found else f"is no {kind}"
    raise TalkfaceError(
        f"{path} line {line}: {cell} {problem}; write a {kind}'s path below its directory"
    )
