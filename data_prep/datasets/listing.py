"""What an adapter yields, and what several adapters need to make it."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from data_prep import archives
from data_prep.tree import Entry, Tree
from talkface_jax.data.manifest import Failure
from talkface_jax.errors import MediaError
from talkface_jax.records import ClipInfo

Key = TypeVar("Key")
_EXAMPLES = 3
# One line each, for the records and the manifest. MEAD: the terms of use in its authors' repository
# (github.com/uniBruce/Mead). HDTF: the README of github.com/MRzzm/HDTF. LRS2: the agreement itself
# was not to be had; what is said of it in papers (arXiv 1809.00496, section 1).
LICENCES: Mapping[str, str] = {
    "mead": (
        "MEAD terms of use: by request, non-commercial research only, no redistribution in any "
        "form, cite Wang et al. (ECCV 2020)"
    ),
    "hdtf": (
        "HDTF lists CC BY 4.0, cite Zhang et al. (CVPR 2021); the videos belong to those who "
        "published them on YouTube"
    ),
    "lrs2": (
        "LRS2-BBC: by signed agreement with BBC R&D, non-commercial academic research only, no "
        "redistribution (unverified: read the agreement that you signed)"
    ),
}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The clips of a raw data set, before a pixel is read.

    Attributes:
      clips: `video` and `audio` are paths of the tree.
      notes: one sentence each on what is odd but harmless, or left out on purpose.
      problems: files that exist and cannot be a clip; they become rows of failures.jsonl.
      complete: the set was made with all the splits that it is to have, so that no val split is
        taken out of its training split.
    """

    clips: tuple[ClipInfo, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[Failure, ...] = ()
    complete: bool = False


def note(what: str, names: Collection[str], noun: str = "clip", *, of: int | None = None) -> str:
    """A sentence on some files: "Without words: 2 of 9 clips (a, b)."."""
    count = f"{len(names)}" if of is None else f"{len(names)} of {of}"
    plural = "" if (of or len(names)) == 1 else "s"
    shown = ", ".join(sorted(names)[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")
    return f"{what}: {count} {noun}{plural} ({shown})."


def one_each(
    found: Iterable[tuple[Key, Entry]], tree: Tree
) -> tuple[dict[Key, Entry], list[Failure]]:
    """The file of every clip, by what identifies the clip, and the files that are one too many.

    A file that lies beside the archive it came from is taken instead of the archive's member;
    otherwise the first, in the order given.
    """
    packed = {archive.path for archive in tree.packed}

    def is_member(entry: Entry) -> bool:
        return any(outer in packed for outer, _ in archives.split_path(entry.path))

    same: dict[Key, list[Entry]] = {}
    for key, entry in found:
        same.setdefault(key, []).append(entry)
    chosen: dict[Key, Entry] = {}
    problems: list[Failure] = []
    for key, entries in same.items():
        chosen[key], *more = [e for e in entries if not is_member(e)] or entries
        problems += (
            Failure(e.path, f"{e.path} is the same clip as {chosen[key].path}; keep one of them.")
            for e in more
        )
    return chosen, problems


def archive_notes(tree: Tree, clips: Iterable[ClipInfo]) -> list[str]:
    """A note for every compressed archive with clips: how dear it is to read."""
    used = {outer for clip in clips for outer, _ in archives.split_path(clip.video)}
    return [
        f"{archive.path} is compressed, so each of its clips costs reading it from its start; "
        "unpack it, or turn it into a plain .tar, to save that time."
        for archive in tree.packed
        if archive.path in used and archives.is_compressed(archive.path)
    ]


def in_order(clips: Iterable[ClipInfo]) -> tuple[ClipInfo, ...]:
    """The clips by name."""
    return tuple(sorted(clips, key=lambda info: info.clip))


def require_clips(clips: Collection[ClipInfo], problems: Sequence[Failure], tree: Tree) -> None:
    """Refuse a tree without a clip.

    Raises:
      MediaError: naming the root, and what was wrong with the first file that is no clip.
    """
    if not clips:
        first = f" (first, {problems[0].reason.rstrip('.')})" if problems else ""
        raise MediaError(
            f"--raw={tree.root} holds no clip of that data set{first}; check the path and the "
            "--dataset."
        )
