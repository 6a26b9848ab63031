"""HDTF (Zhang et al., CVPR 2021): high-resolution talking heads cut from YouTube videos.

Clips lie flat, `<SUBSET>_<name>_<clip:03d>.mp4`, numbered from 0 within a video, with SUBSET one of
RD, WDA and WRA; `...#<k>.mp4` are pieces of five seconds of one. Sound files of the same name are
used where there are any (the usual downloader keeps no sound). The authors' lists
`<SUBSET>_{video_url,annotion_time,crop_wh,crop_ratio,resolution}.txt` may lie anywhere in the tree:
they tell what is missing, and the subset of clips that are named `<name>_<clip>.mp4`.

The speaker is the name without the number of the video (AmyKlobuchar0 and AmyKlobuchar2 are one
person), whatever the subset. Nobody says who speaks in Radio1 to Radio57, so all of them count as
one speaker: a person who appears in two of them can then never be on both sides of a split. There
is no official split: all clips are "train", of which preparation takes a val split.
"""

import dataclasses
import posixpath
import re
from collections.abc import Mapping

from data_prep.datasets.listing import (
    LICENCES,
    Listing,
    archive_notes,
    in_order,
    note,
    one_each,
    require_clips,
)
from data_prep.tree import Entry, Tree
from talkface_jax.data.manifest import Failure
from talkface_jax.records import ClipInfo

SUBSETS = ("RD", "WDA", "WRA")
KINDS = ("video_url", "annotion_time", "crop_wh", "crop_ratio", "resolution")
_VIDEOS = frozenset({".mp4"})
_SOUNDS = (".wav", ".m4a")  # the first is taken where there are both
_LIST = re.compile(rf"({'|'.join(SUBSETS)})_({'|'.join(KINDS)})\.txt")
_CLIP = re.compile(rf"(?:({'|'.join(SUBSETS)})_)?(.+?)_(\d+)(?:#(\d+))?")
_WHOLE = re.compile(rf"({'|'.join(SUBSETS)})_(.+)")
_SPAN = re.compile(r"[\d:]+-[\d:]+")
# Two names with one address in WDA_video_url.txt: James "Jim" Clyburn, then the party's whip.
_ALIASES = {"WhipJimClyburn": "JamesClyburn"}


@dataclasses.dataclass(frozen=True, order=True)
class Cut:
    """A clip, or with `piece` five seconds of one."""

    subset: str
    name: str
    clip: int
    piece: int | None = None

    @property
    def whole(self) -> "Cut":
        """The clip that this is, or that it is a piece of."""
        return dataclasses.replace(self, piece=None)

    def __str__(self) -> str:
        whole = f"{self.subset}_{self.name}_{self.clip:03d}"
        return whole if self.piece is None else f"{whole}#{self.piece}"


@dataclasses.dataclass(frozen=True)
class Lists:
    """The authors' lists: video -> fields of its line, by subset and kind; `.mp4` taken off."""

    rows: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]]

    def of(self, kind: str) -> dict[tuple[str, str], tuple[str, ...]]:
        """(subset, key) -> fields, over all subsets."""
        return {
            (subset, key): fields
            for (subset, found), table in self.rows.items()
            if found == kind
            for key, fields in table.items()
        }

    @property
    def clips(self) -> set[Cut]:
        """Every clip with times."""
        return {
            Cut(subset, name, k)
            for (subset, name), spans in self.of("annotion_time").items()
            for k in range(len(spans))
        }

    @property
    def subsets(self) -> dict[str, str]:
        """Video -> subset, of the names that are in one subset only."""
        found: dict[str, set[str]] = {}
        for subset, name in (*self.of("video_url"), *self.of("annotion_time")):
            found.setdefault(name, set()).add(subset)
        return {name: subsets.pop() for name, subsets in found.items() if len(subsets) == 1}


def list_clips(tree: Tree) -> Listing:
    """Every clip of the tree, listed or not.

    Raises:
      MediaError: no clip, or a list that is not UTF-8.
    """
    tree = tree.opened()
    lists = read_lists(tree)
    subsets = lists.subsets
    problems = list(tree.problems_of({*_VIDEOS, *_SOUNDS}))
    videos: list[tuple[Cut, Entry]] = []
    whole: list[str] = []
    for entry in tree.with_suffix(_VIDEOS):
        cut = read_cut(entry.path, subsets)
        if cut is not None:
            videos.append((cut, entry))
        elif _WHOLE.fullmatch(_stem(entry.path)) or _stem(entry.path) in subsets:
            whole.append(_stem(entry.path))
        else:
            reason = f"{entry.path} is named like no clip (<SUBSET>_<name>_<clip>.mp4); rename it."
            problems.append(Failure(entry.path, reason))
    found, twice = one_each(videos, tree)
    pieces = {cut for cut in found if cut.piece is not None and cut.whole in found}
    sounds, sounds_twice = _sounds(tree, subsets)
    problems += [*twice, *sounds_twice]
    clips = [
        _clip(cut, entry, sounds.get(cut)) for cut, entry in found.items() if cut not in pieces
    ]
    require_clips(clips, problems, tree)
    notes = [
        *archive_notes(tree, clips),
        *_notes_on_lists(lists, {cut.whole for cut in found}),
        *_notes_on_files(whole, pieces),
        "HDTF has no official split, so there is no test unless it is split by speaker.",
    ]
    if any(clip.speaker == "Radio" for clip in clips):
        notes.append("Nobody says who speaks in the RD videos, so they count as one speaker.")
    return Listing(in_order(clips), tuple(notes), tuple(problems))


def read_cut(path: str, subsets: Mapping[str, str]) -> Cut | None:
    """The clip that a path names, None if it names none; `subsets` as `Lists.subsets`."""
    found = _CLIP.fullmatch(_stem(path))
    if found is None:
        return None
    subset = found[1] or subsets.get(found[2], "")
    if not subset:  # a name that no list knows, or that two subsets have
        return None
    return Cut(subset, found[2], int(found[3]), None if found[4] is None else int(found[4]))


def speaker_of(name: str) -> str:
    """The person whom a video's name tells: the name without the video's number."""
    person = name.rstrip("0123456789").rstrip("_") or name
    return _ALIASES.get(person, person)


def read_lists(tree: Tree) -> Lists:
    """The authors' lists, wherever they lie; of two copies the one nearer to the root.

    Raises:
      MediaError: a list that cannot be read.
    """
    paths: dict[tuple[str, str], str] = {}
    entries = tree.with_suffix({".txt"})
    for entry in sorted(entries, key=lambda e: (e.path.count("/"), e.path)):
        found = _LIST.fullmatch(posixpath.basename(entry.path))
        if found is not None:
            paths.setdefault((found[1], found[2]), entry.path)
    return Lists({key: _read_table(tree.read_text(path)) for key, path in paths.items()})


def _read_table(text: str) -> dict[str, tuple[str, ...]]:
    rows = (line.split() for line in text.splitlines())
    return {row[0].removesuffix(".mp4"): tuple(row[1:]) for row in rows if row}


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


def _sounds(tree: Tree, subsets: Mapping[str, str]) -> tuple[dict[Cut, Entry], list[Failure]]:
    """The sound file of every clip, and those that are one too many."""
    found: dict[Cut, Entry] = {}
    problems: list[Failure] = []
    for suffix in reversed(_SOUNDS):
        cuts = ((read_cut(entry.path, subsets), entry) for entry in tree.with_suffix({suffix}))
        named = ((cut, entry) for cut, entry in cuts if cut is not None)
        chosen, more = one_each(named, tree)
        found |= chosen
        problems += more
    return found, problems


def _clip(cut: Cut, video: Entry, sound: Entry | None) -> ClipInfo:
    return ClipInfo(
        dataset="hdtf",
        clip=str(cut),
        speaker=speaker_of(cut.name),
        video=video.path,
        audio=sound.path if sound is not None else "",
        view="unknown",
        licence=LICENCES["hdtf"],
    )


def _notes_on_lists(lists: Lists, present: set[Cut]) -> list[str]:
    if not lists.rows:
        return ["None of HDTF's lists is in the tree, so clips are taken by their names alone."]
    notes = []
    lost = {f"{s}_{kind}.txt" for s in SUBSETS for kind in KINDS if (s, kind) not in lists.rows}
    if lost:
        notes.append(note("Absent of HDTF's lists", lost, "list", of=len(SUBSETS) * len(KINDS)))
    listed = lists.clips
    absent = listed - present
    if absent:
        notes.append(note("Absent although listed", set(map(str, absent)), of=len(listed)))
    windows = lists.of("crop_wh")
    blind = {str(c) for c in absent if (c.subset, f"{c.name}_{c.clip}") not in windows}
    if blind:
        notes.append(note("Of these, left out by downloaders for want of a crop window", blind))
    unlisted = present - listed
    if unlisted:
        notes.append(note("Used although in no list", set(map(str, unlisted))))
    return notes + _notes_on_rows(lists)


def _notes_on_rows(lists: Lists) -> list[str]:
    times = lists.of("annotion_time")
    resolutions = lists.of("resolution")
    found = {
        "Listed without times": [key for key in lists.of("video_url") if key not in times],
        "Listed with a time span that cannot be read": [
            key for key, spans in times.items() if not all(map(_SPAN.fullmatch, spans))
        ],
        "Listed with resolution 0": [k for k, row in resolutions.items() if row == ("0",)],
    }
    return [
        note(what, ["_".join(k) for k in keys], "video") for what, keys in found.items() if keys
    ]


def _notes_on_files(whole: list[str], pieces: set[Cut]) -> list[str]:
    notes = []
    if whole:
        notes.append(note("Left out, as clips are cut from them", whole, "whole video"))
    if pieces:
        what = "Left out, as the clip is there as a whole"
        notes.append(note(what, set(map(str, pieces)), "piece"))
    return notes
