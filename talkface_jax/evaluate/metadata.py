"""What is known of the clips of a benchmark: who speaks, and the groups that they belong to."""

import csv
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from talkface_jax.errors import TalkfaceError, counted
from talkface_jax.records import EMOTIONS

CLIP, SPEAKER, EMOTION = "clip", "speaker", "emotion"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Rows by clip, each column -> value.

    A clip is named by its relative path without suffix, or by its file's stem.
    """

    rows: Mapping[str, Mapping[str, str]]

    def speaker(self, clip: str) -> str:
        """Who speaks; "" where that is not known."""
        return self._row(clip).get(SPEAKER, "")

    def groups(self, clip: str) -> dict[str, str]:
        """Column -> value, but for the speaker; empty cells are left out."""
        return {
            column: value
            for column, value in self._row(clip).items()
            if column != SPEAKER and value
        }

    def emotion(self, clip: str) -> int | None:
        """Index of `records.EMOTIONS` that the column emotion names; None where it names none."""
        name = self._row(clip).get(EMOTION, "").lower()
        return EMOTIONS.index(name) if name in EMOTIONS else None

    def gaps(self, clips: Iterable[str]) -> dict[str, str]:
        """What to state where rows and clips, or emotions, do not fit; empty where they do.

        Raises:
          TalkfaceError: no row names any of these clips.
        """
        names = list(clips)
        self.require_any(names)
        known = {*names, *(pathlib.PurePosixPath(name).name for name in names)}
        strangers = [name for name in self.rows if name not in known]
        bare = [name for name in names if not self._row(name)]
        told = []
        if strangers:
            told.append(f"{counted(len(strangers), 'row')} without a clip ({_some(strangers)})")
        if bare:
            told.append(f"{counted(len(bare), 'clip')} without a row ({_some(bare)})")
        unknown = {self._row(name).get(EMOTION, "").lower() for name in names} - {"", *EMOTIONS}
        if unknown:
            listed = _some(sorted(unknown))
            told.append(f"{listed} in column {EMOTION} is none of {', '.join(EMOTIONS)}")
        return {"metadata": ", ".join(told)} if told else {}

    def require_any(self, clips: Iterable[str]) -> None:
        """Refuses rows of which none is of these clips.

        Raises:
          TalkfaceError: as said.
        """
        names = list(clips)
        if self.rows and not any(self._row(name) for name in names):
            raise TalkfaceError(
                f"--metadata names {_some(list(self.rows))}, but the true clips are "
                f"{_some(names)}; write these names, without suffix, in the column {CLIP}"
            )

    def _row(self, clip: str) -> Mapping[str, str]:
        return self.rows.get(clip, self.rows.get(pathlib.PurePosixPath(clip).name, {}))


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")


def read_metadata(path: pathlib.Path) -> Metadata:
    """Reads a csv file with a header: columns clip, perhaps speaker and emotion, and any others
    (skin, sex, level).

    Raises:
      TalkfaceError: it cannot be read, is no csv in UTF-8, lacks the column clip, or names a clip
        or a column twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TalkfaceError(
            f"--metadata={path} cannot be read ({reason}); give a csv file in UTF-8"
        ) from error
    header = [column.strip() for column in table[0]] if table else []
    if CLIP not in header or len(set(header)) != len(header):
        raise TalkfaceError(
            f"--metadata={path} needs a header with a column clip and no column twice, not "
            f"{', '.join(header) or 'an empty file'}; write clip,speaker,skin,…"
        )
    rows: dict[str, dict[str, str]] = {}
    for number, cells in enumerate(table[1:], 2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise TalkfaceError(
                f"--metadata={path}: line {number} has {len(cells)} cells for {len(header)} "
                "columns; mend it"
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        clip = row.pop(CLIP)
        if clip in rows:
            raise TalkfaceError(f"--metadata={path} names the clip {clip} twice; leave one out")
        rows[clip] = row
    return Metadata(rows)
