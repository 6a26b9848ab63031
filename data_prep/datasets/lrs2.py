"""LRS2-BBC (Chung et al., CVPR 2017; Afouras et al., 2018): sentences cut from BBC broadcasts.

    mvlrs_v1/{main,pretrain}/<broadcast>/<clip>.mp4      160x160, 25 fps, 16 kHz
    mvlrs_v1/{main,pretrain}/<broadcast>/<clip>.txt      its first line is "Text:  WORDS"
    {train,val,test,pretrain}.txt                        lines "<broadcast>/<clip> [NF|MV]"

The root may be `mvlrs_v1` or a folder above it; the lists lie beside `main` and `pretrain` or above
them. A clip's split is the list that names it (train, val and test for `main`, pretrain for
`pretrain`); clips that no list names are left out, as the lists leave them out.

The speaker is the 19-digit number of the broadcast: no identities are published. Sets that are
disjoint in it are disjoint in broadcasts, and one presenter may still appear in several.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping

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
from talkface_jax.errors import MediaError
from talkface_jax.records import ClipInfo

PARTS = {"train": "main", "val": "main", "test": "main", "pretrain": "pretrain"}
_VIDEOS = frozenset({".mp4"})
_VIDEO = re.compile(r"(?:(.*)/)?(main|pretrain)/(\d+)/(\d+)\.mp4", re.IGNORECASE)
_TEXT = "Text:"
_NOT_UTF8 = "\ufffd"


def list_clips(tree: Tree) -> Listing:
    """Every listed clip of the tree.

    Raises:
      MediaError: no clip, no list, or a clip that is in two lists.
    """
    tree = tree.opened()
    videos: list[tuple[str, Entry]] = []
    bases: set[str] = set()
    strange: list[str] = []
    for entry in tree.with_suffix(_VIDEOS):
        found = _VIDEO.fullmatch(entry.path)
        if found is None:
            strange.append(entry.path)
        else:
            bases.add(found[1] or "")
            videos.append((f"{found[2].lower()}/{found[3]}/{found[4]}", entry))
    present, twice = one_each(videos, tree)
    problems = [*tree.problems_of(_VIDEOS), *twice]
    splits = read_lists(tree, bases) if present else {}
    listed = [(clip, present[clip], split) for clip, split in splits.items() if clip in present]
    texts = _texts(tree, [entry for _, entry, _ in listed])
    clips = [
        ClipInfo(
            dataset="lrs2",
            clip=clip,
            speaker=clip.split("/")[1],
            video=entry.path,
            split=split,
            text=text or "",
            view="unknown",
            licence=LICENCES["lrs2"],
        )
        for (clip, entry, split), text in zip(listed, texts, strict=True)
    ]
    require_clips(clips, problems, tree)
    wordless = [clip.clip for clip, text in zip(clips, texts, strict=True) if text is None]
    notes = [*archive_notes(tree, clips), *_notes(splits, present, wordless, strange)]
    return Listing(in_order(clips), tuple(notes), tuple(problems))


def read_lists(tree: Tree, bases: Iterable[str]) -> dict[str, str]:
    """Clip ("main/<broadcast>/<clip>") -> split, of every list beside or above `bases`.

    Of two lists of one name the one nearer to `main` and `pretrain` counts.

    Raises:
      MediaError: there is no list, or two lists name the same clip.
    """
    splits: dict[str, str] = {}
    folders = sorted({above for base in bases for above in _upwards(base)}, key=len, reverse=True)
    for split, part in PARTS.items():
        places = (posixpath.join(folder, f"{split}.txt") for folder in folders)
        path = next((place for place in places if place in tree), None)
        lines = tree.read_text(path).splitlines() if path is not None else []
        for fields in filter(None, map(str.split, lines)):
            clip = f"{part}/{fields[0].removesuffix('.mp4')}"
            if splits.setdefault(clip, split) != split:
                raise MediaError(
                    f"{clip} is both in {splits[clip]}.txt and in {split}.txt under {tree.root}; "
                    "restore the lists as they were published."
                )
    if not splits:
        raise MediaError(
            f"{tree.root} has none of LRS2's lists (train.txt, val.txt, test.txt, pretrain.txt); "
            "put them beside main and pretrain, and give the folder that holds both as --raw."
        )
    return splits


def _upwards(folder: str) -> list[str]:
    """A folder and all above it, up to the root ("")."""
    found = [folder]
    while folder:
        folder = posixpath.dirname(folder)
        found.append(folder)
    return found


def _texts(tree: Tree, videos: Iterable[Entry]) -> list[str | None]:
    """The words of every clip; None where its text file is missing or is none."""
    paths = [posixpath.splitext(entry.path)[0] + ".txt" for entry in videos]
    there = [path for path in paths if path in tree]
    words = dict(zip(there, map(_words, tree.read_texts(there, errors="replace")), strict=True))
    return [words.get(path) for path in paths]


def _words(text: str) -> str | None:
    first = text.partition("\n")[0].strip()
    readable = first.startswith(_TEXT) and _NOT_UTF8 not in first
    return first.removeprefix(_TEXT).strip() if readable else None


def _notes(
    splits: Mapping[str, str],
    present: Mapping[str, Entry],
    wordless: list[str],
    strange: list[str],
) -> list[str]:
    notes = []
    for split in PARTS:
        listed = [clip for clip, found in splits.items() if found == split]
        absent = [clip for clip in listed if clip not in present]
        if absent:
            notes.append(note(f"Absent although in {split}.txt", absent, of=len(listed)))
    unlisted = [clip for clip in present if clip not in splits]
    if unlisted:
        notes.append(note("Left out because no list names them", unlisted))
    if wordless:
        notes.append(note("Without words", wordless))
    if strange:
        notes.append(
            note(
                "Left out for not lying in main/<broadcast> or pretrain/<broadcast>",
                strange,
                "video",
            )
        )
    return notes
