"""Any tree of videos: what a user with their own footage has.

The speaker is the first folder under the root (for files in the root itself: the file's name), the
split "train". An optional `metadata.csv` in the root says more: a column `path` (relative to the
root) and any of `speaker`, `split`, `emotion` (by name), `level` (1 to 3), `text`, `audio` (a sound
file, relative) and `licence`. Videos that it does not list keep the defaults.
"""

import csv
import pathlib
from collections.abc import Mapping

from talkface_jax.errors import ConfigError, MediaError
from talkface_jax.records import EMOTIONS, ClipInfo

SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
METADATA = "metadata.csv"
_COLUMNS = ("path", "speaker", "split", "emotion", "level", "text", "audio", "licence")


def list_clips(raw: pathlib.Path) -> list[ClipInfo]:
    """Every video under `raw`, by path.

    Raises:
      MediaError: no such folder, no video in it, or a listed file that does not exist.
      ConfigError: a metadata.csv that cannot be understood, with the line.
    """
    raw = pathlib.Path(raw)
    if not raw.is_dir():
        raise MediaError(f"--raw={raw} is no folder; give the root of a tree of videos.")
    videos = sorted(
        path.relative_to(raw).as_posix()
        for path in raw.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not videos:
        kinds = ", ".join(sorted(SUFFIXES))
        raise MediaError(
            f"--raw={raw} holds no video ({kinds}); give the root of a tree of videos."
        )
    rows = _read_metadata(raw)
    stems = [video.rpartition(".")[0] for video in videos]
    return [
        _clip(video, video if stems.count(stem) > 1 else stem, rows.get(video, {}))
        for video, stem in zip(videos, stems, strict=True)
    ]


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


def _read_metadata(raw: pathlib.Path) -> dict[str, dict[str, str]]:
    path = raw / METADATA
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = [
                ({k: (v or "").strip() for k, v in row.items() if k}, reader.line_num)
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no UTF-8 CSV file ({error}); save it as one.") from error
    unknown = sorted(set(columns) - set(_COLUMNS))
    if "path" not in columns or unknown:
        what = f"unknown column {unknown[0]!r}" if unknown else "no column 'path'"
        raise ConfigError(f"{path} has {what}; its columns may be {', '.join(_COLUMNS)}.")
    found: dict[str, dict[str, str]] = {}
    for row, line in rows:
        _check_row(raw, row, f"{path}, line {line}")
        found[pathlib.PurePosixPath(row["path"]).as_posix()] = row
    return found


def _check_row(raw: pathlib.Path, row: Mapping[str, str], where: str) -> None:
    for column in ("path", "audio"):
        if (column == "path" or row.get(column)) and not (raw / row[column]).is_file():
            raise MediaError(
                f"{where}: there is no file {row[column]!r} under {raw}; correct the path."
            )
    if row.get("emotion") and row["emotion"] not in EMOTIONS:
        raise ConfigError(
            f"{where}: emotion {row['emotion']!r} is unknown; use one of: {', '.join(EMOTIONS)}."
        )
    if row.get("level") and row["level"] not in ("1", "2", "3"):
        raise ConfigError(f"{where}: level {row['level']!r} is unknown; use 1, 2 or 3.")
    split = row.get("split", "")
    if split and not split.replace("_", "").isalnum():
        raise ConfigError(f"{where}: split {split!r} is no name; use letters, digits and _.")
