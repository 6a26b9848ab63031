"""Any tree of videos: what a user with their own footage has.

The speaker is the first folder under the root (for files in the root itself: the file's name), the
split "train". An optional `metadata.csv` in the root says more: a column `path` (relative to the
root) and any of `speaker`, `split`, `emotion` (by name), `level` (1 to 3), `text`, `audio` (a sound
file, relative) and `licence`. Videos that it does not list keep the defaults.
"""

import collections
import csv
import io
import posixpath
from collections.abc import Mapping

from data_prep import places
from data_prep.datasets.listing import Listing, note
from data_prep.tree import Tree
from talkface_jax.errors import ConfigError, MediaError
from talkface_jax.records import EMOTIONS, ClipInfo

SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
METADATA = "metadata.csv"
_COLUMNS = ("path", "speaker", "split", "emotion", "level", "text", "audio", "licence")


def list_clips(tree: Tree) -> Listing:
    """Every video of the tree, by path; archives are not looked into.

    Raises:
      MediaError: no video in the tree, or a listed file that does not exist.
      ConfigError: a metadata.csv that cannot be understood, with the line.
    """
    videos = [entry.path for entry in tree.with_suffix(SUFFIXES)]
    if not videos:
        kinds = ", ".join(sorted(SUFFIXES))
        raise MediaError(
            f"--raw={tree.root} holds no video ({kinds}); give the root of a tree of videos."
        )
    rows = _read_metadata(tree)
    stems = [video.rpartition(".")[0] for video in videos]
    times = collections.Counter(stems)
    clips = [
        _clip(video, video if times[stem] > 1 else stem, rows.get(video, {}))
        for video, stem in zip(videos, stems, strict=True)
    ]
    packed = [archive.path for archive in tree.packed]
    notes = (note("Not looked into, unpack what is to be used", packed, "archive"),)
    return Listing(tuple(clips), notes if packed else (), tree.problems_of(SUFFIXES))


def _clip(video: str, name: str, row: Mapping[str, str]) -> ClipInfo:
    folder, _, file = video.partition("/")
    return ClipInfo(
        dataset="folder",
        clip=name,
        speaker=row.get("speaker") or (folder if file else name),
        video=video,
        audio=row.get("audio", ""),
        split=row.get("split") or "train",
        text=row.get("text", ""),
        emotion=EMOTIONS.index(row["emotion"]) if row.get("emotion") else -1,
        level=int(row["level"]) if row.get("level") else -1,
        view="unknown",
        licence=row.get("licence") or "unknown",
    )


def _read_metadata(tree: Tree) -> dict[str, dict[str, str]]:
    if METADATA not in tree:
        return {}
    path = places.join(tree.root, METADATA)
    try:
        reader = csv.DictReader(io.StringIO(tree.read_text(METADATA), newline=""))
        columns = reader.fieldnames or []
        rows = [(row, reader.line_num) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV file ({error}); save it as one.") from error
    unknown = sorted(set(columns) - set(_COLUMNS))
    if "path" not in columns or unknown:
        what = f"unknown column {unknown[0]!r}" if unknown else "no column 'path'"
        raise ConfigError(f"{path} has {what}; its columns may be {', '.join(_COLUMNS)}.")
    found: dict[str, dict[str, str]] = {}
    for cells, line in rows:
        where = f"{path}, line {line}"
        if None in cells:  # under which the reader puts what has no column
            raise ConfigError(
                f"{where}: there are more cells than the {len(columns)} columns; put texts with "
                "commas between quotation marks."
            )
        row = {column: (cell or "").strip() for column, cell in cells.items()}
        for column in ("path", "audio"):
            if row.get(column):
                row[column] = posixpath.normpath(row[column])
        _check_row(tree, row, where)
        if row["path"] in found:
            raise ConfigError(f"{where}: {row['path']!r} has a row already; keep one of the two.")
        found[row["path"]] = row
    return found


def _check_row(tree: Tree, row: Mapping[str, str], where: str) -> None:
    for column in ("path", "audio"):
        if (column == "path" or row.get(column)) and row[column] not in tree:
            raise MediaError(f"{where}: there is no file {row[column]!r}; correct the path.")
    if row.get("emotion") and row["emotion"] not in EMOTIONS:
        raise ConfigError(
            f"{where}: emotion {row['emotion']!r} is unknown; use one of: {', '.join(EMOTIONS)}."
        )
    if row.get("level") and row["level"] not in ("1", "2", "3"):
        raise ConfigError(f"{where}: level {row['level']!r} is unknown; use 1, 2 or 3.")
    split = row.get("split", "")
    if split and not split.replace("_", "").isalnum():
        raise ConfigError(f"{where}: split {split!r} is no name; use letters, digits and _.")
