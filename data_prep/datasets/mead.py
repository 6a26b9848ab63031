"""MEAD (Wang et al., ECCV 2020): 8 emotions, 3 levels, 7 views of each take.

    <actor>/video/<view>/<emotion>/level_<k>/<nnn>.mp4
    <actor>/audio/<emotion>/level_<k>/<nnn>.m4a           one sound for the seven views

Copies differ in what lies between these names (`video/`, `1/`, nothing, `video.tar`), so actor,
view, emotion and level are found by their vocabulary, wherever they stand. Flat names of derived
sets are read too: `M003#angry#level_1#001.mp4`, `M003_ang_1_001.mp4`; where no view is named, the
front is meant. A take without a sound file keeps the video's own track.

The split is the authors' (`by_authors`). Both of its sides hold the same actors; `by_four_actors`,
which later papers use, and `splits.by_speaker` keep them apart. Neither protocol names a val split:
preparation takes training takes of some actors for it (`splits.with_val`), whose test takes stay
where they are.
"""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from data_prep import archives
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
from talkface_jax.errors import ConfigError
from talkface_jax.records import EMOTIONS, ClipInfo

VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
LAYOUT = "<actor>/video/<view>/<emotion>/level_<k>/<nnn>.mp4"
_VIDEOS = frozenset({".mp4"})
_SOUNDS = (".m4a", ".wav")  # the first is taken where there are both
FOUR_ACTORS = ("M003", "M030", "W009", "W015")
_TEST_TAKES = {"neutral": 10}
_TEST_TAKES_OTHERS = 6
_ACTOR = re.compile(r"[MW]\d{3}")
_LEVEL = re.compile(r"level_?([1-3])")
_FLAT = re.compile(r"([MW]\d{3})[#_]([a-z]+)[#_](?:level_?)?([1-3])[#_](\d+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Take:
    """One recording: what the seven views and the sound share."""

    actor: str
    emotion: str
    level: int
    number: int


def list_clips(tree: Tree) -> Listing:
    """Every video of the tree; a clip's name holds actor, view, emotion, level and number.

    Raises:
      MediaError: no video.
    """
    tree = tree.opened()
    problems = list(tree.problems_of({*_VIDEOS, *_SOUNDS}))
    videos: list[tuple[tuple[Take, str], Entry]] = []
    viewless: list[str] = []
    for entry in tree.with_suffix(_VIDEOS):
        take = read_take(entry.path, tree.name)
        if isinstance(take, str):
            problems.append(Failure(entry.path, f"{entry.path} {take}; MEAD's layout is {LAYOUT}."))
            continue
        view = _view(entry.path)
        if not view:
            viewless.append(entry.path)
        videos.append(((take, view or "front"), entry))
    found, twice = one_each(videos, tree)
    sounds, sounds_twice = _sounds(tree)
    problems += [*twice, *sounds_twice]
    clips = [
        ClipInfo(
            dataset="mead",
            clip=f"{take.actor}_{view}_{take.emotion}_{take.level}_{take.number:03d}",
            speaker=take.actor,
            video=entry.path,
            audio=sounds[take].path if take in sounds else "",
            emotion=EMOTIONS.index(take.emotion),
            level=take.level,
            view=view,
            licence=LICENCES["mead"],
        )
        for (take, view), entry in found.items()
    ]
    require_clips(clips, problems, tree)
    clips = by_authors(clips)
    notes = [*archive_notes(tree, clips), *_notes(clips, viewless)]
    return Listing(in_order(clips), tuple(notes), tuple(problems))


def read_take(path: str, root_name: str = "") -> Take | str:
    """The take that a path names, or what the path lacks ("names no level").

    The actor may be the name of the root itself.
    """
    *folders, file = path.split("/")
    stem = posixpath.splitext(file)[0]
    flat = _FLAT.fullmatch(stem)
    if flat is not None:
        emotion = _emotion(flat[2])
        if emotion is None:
            return f"names no emotion ({flat[2]} is none of {', '.join(EMOTIONS)})"
        return Take(flat[1].upper(), emotion, int(flat[3]), int(flat[4]))
    folders = [_bare(name) for name in folders]
    actor = _last(name for name in (root_name, *folders) if _ACTOR.fullmatch(name))
    emotion = _last(name.lower() for name in folders if name.lower() in EMOTIONS)
    level = _last(found[1] for name in folders if (found := _LEVEL.fullmatch(name.lower())))
    known = {"actor": actor, "emotion": emotion, "level": level, "number": stem.isdecimal()}
    if not (actor and emotion and level and stem.isdecimal()):
        lacking = [name for name, value in known.items() if not value]
        return f"names no {' and no '.join(lacking)}"
    return Take(actor, emotion, int(level), int(stem))


def _view(path: str) -> str:
    """The view that a path names, "" if none."""
    names = (_bare(name).lower() for name in path.split("/")[:-1])
    return _last(name for name in names if name in VIEWS) or ""


def _bare(name: str) -> str:
    """A folder's name; of an archive, what it would be unpacked as."""
    suffix = next((s for s in archives.SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _emotion(word: str) -> str | None:
    """The emotion with this name or abbreviation of at least three letters."""
    word = word.lower()
    found = [emotion for emotion in EMOTIONS if len(word) >= 3 and emotion.startswith(word)]
    return found[0] if found else None


def _last(names: Iterable[str]) -> str | None:
    return next(reversed([*names]), None)


def _sounds(tree: Tree) -> tuple[dict[Take, Entry], list[Failure]]:
    """The sound file of every take, and those that are one too many."""
    found: dict[Take, Entry] = {}
    problems: list[Failure] = []
    for suffix in reversed(_SOUNDS):
        takes = ((read_take(entry.path, tree.name), entry) for entry in tree.with_suffix({suffix}))
        named = ((take, entry) for take, entry in takes if isinstance(take, Take))
        chosen, twice = one_each(named, tree)
        found |= chosen
        problems += twice
    return found, problems


def by_authors(clips: Sequence[ClipInfo]) -> list[ClipInfo]:
    """The clips with the split of MEAD's authors: for each actor and level, the last 10 takes of
    neutral and the last 6 of every other emotion are "test", the rest "train".

    It goes by the numbers of the takes, of whatever view, so that all views of a take fall on one
    side.
    """
    groups: dict[tuple[str, int, int], set[int]] = {}
    for clip in clips:
        groups.setdefault(_group(clip), set()).add(_number(clip))
    tests = {
        group: set(sorted(numbers)[-_TEST_TAKES.get(EMOTIONS[group[1]], _TEST_TAKES_OTHERS) :])
        for group, numbers in groups.items()
    }
    return [
        dataclasses.replace(clip, split="test" if _number(clip) in tests[_group(clip)] else "train")
        for clip in clips
    ]


def by_four_actors(clips: Sequence[ClipInfo]) -> list[ClipInfo]:
    """The clips with those of four actors, two men and two women, as "test", the rest "train".

    Source: the authors of EAT (Gan et al., ICCV 2023) name the four on whom they tested
      (github.com/yuangan/EAT_code, issue 17), in the line of EVP and EAMM. Unverified: that those
      two tested on the same four, and which of their takes each paper used. Here it is all that
      there are; to compare with a paper's numbers, take its own list of clips.

    Raises:
      ConfigError: one of the four is missing.
    """
    actors = {clip.speaker for clip in clips}
    if missing := [actor for actor in FOUR_ACTORS if actor not in actors]:
        raise ConfigError(
            f"--split=four-actors tests on {', '.join(FOUR_ACTORS)}, but there is no clip of "
            f"{', '.join(missing)}; add them to --raw or give another --split."
        )
    return [
        dataclasses.replace(clip, split="test" if clip.speaker in FOUR_ACTORS else "train")
        for clip in clips
    ]


PROTOCOLS: Mapping[str, Callable[[Sequence[ClipInfo]], list[ClipInfo]]] = {
    "four-actors": by_four_actors
}
"""Splits of other people than the authors, by the name that `--split` gives."""


def _group(clip: ClipInfo) -> tuple[str, int, int]:
    return clip.speaker, clip.emotion, clip.level


def _number(clip: ClipInfo) -> int:
    """Of the take: the last part of the clip's name."""
    return int(clip.clip.rpartition("_")[2])


def _notes(clips: list[ClipInfo], viewless: list[str]) -> list[str]:
    notes = []
    if viewless:
        notes.append(note("Without a view in the path, so taken as front", viewless, "video"))
    mute = [clip.clip for clip in clips if not clip.audio]
    if mute:
        notes.append(note("Without a sound file, so the video's own track is used", mute))
    untrained = {c.speaker for c in clips} - {c.speaker for c in clips if c.split == "train"}
    if untrained:
        what = "With so few takes that the authors' split leaves none for training"
        notes.append(note(what, untrained, "actor"))
    return notes
