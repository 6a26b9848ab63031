"""Which predicted video belongs to which true one."""

import dataclasses
import os
import pathlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate import matching, naming
from talkface_jax.evaluate.matching import read_table
from talkface_jax.evaluate.naming import VIDEO_SUFFIXES, Ends

__all__ = ["CONVENTION", "VIDEO_SUFFIXES", "Pairing", "find_videos", "pair", "read_table"]


_TEMPORARY = ("temp", "tmp", "__macosx")
_TEMPORARY_START = (".", "tempfile_of_")
"""Hidden folders, and those in which tools keep unfinished videos (the last is IP-LAP's)."""
_NAMED = 3
"""So many names are spelled out in a sentence."""
_BY_TABLE, _BY_MATCH, _EXACT, _BY_END, _BY_TOOL = range(5)
"""First places of a claim's rank, the best first."""

CONVENTION = (
    "a table's rows first; then --match alone if given; else same relative path, longest common "
    "end of the path, and the rule of a public tool; a clip that several fit is a failure"
)


def find_videos(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Videos below a directory by their relative path without suffix, sorted.

    Hidden files and folders and tools' temporary folders (temp, tmp, tempfile_of_*, __MACOSX) are
    passed over. Links to files are followed (a broken one is listed, and fails when it is opened),
    links to folders below the directory are not, so no loop is.

    Raises:
      MediaError: not a directory, a folder that cannot be read, no video in it, or two videos that
        differ by their suffix only.
    """
    if not directory.is_dir():
        raise MediaError(
            f"{directory} is not a directory; name a directory of {VIDEO_SUFFIXES[0]} files"
        )
    videos: dict[str, pathlib.Path] = {}
    for path in sorted(_walk(directory), key=lambda p: p.relative_to(directory).as_posix()):
        name = path.relative_to(directory).with_suffix("").as_posix()
        if name in videos:
            raise MediaError(
                f"{directory} has {videos[name].relative_to(directory)} and "
                f"{path.relative_to(directory)}, of one name; rename or remove one of them"
            )
        videos[name] = path
    if not videos:
        raise MediaError(
            f"{directory} has no video ({', '.join(VIDEO_SUFFIXES)}); put the clips there"
        )
    return dict(sorted(videos.items()))


def _walk(directory: pathlib.Path) -> Iterable[pathlib.Path]:
    def fail(error: OSError) -> None:
        raise MediaError(
            f"{error.filename} cannot be read ({error.strerror}); change its permissions"
        ) from error

    for folder, folders, files in os.walk(directory, onerror=fail):
        folders[:] = [
            name
            for name in folders
            if name.lower() not in _TEMPORARY and not name.startswith(_TEMPORARY_START)
        ]
        for file in files:
            path = pathlib.Path(folder, file)
            hidden = file.startswith(".")
            if hidden or path.suffix.lower() not in VIDEO_SUFFIXES:
                continue
            if path.is_file() or path.is_symlink():
                yield path


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Which prediction each true clip has; clips in the truth's order.

    Attributes:
      pairs: clip -> predicted path, None where there is none or no telling which.
      strangers: predictions that name no true clip.
      rules: clip -> how its prediction was found.
      ambiguous: clip -> one sentence, where several predictions fit, or one fits several clips.
      left_out: prediction -> why it is not scored although it names a clip (a twin of one that
        is), or that `match` passes it over.
    """

    pairs: dict[str, pathlib.Path | None]
    strangers: tuple[str, ...]
    rules: dict[str, str]
    ambiguous: dict[str, str]
    left_out: dict[str, str]


@dataclasses.dataclass(frozen=True)
class _Claim:
    """A prediction that fits some clips; `rank` is the better the smaller."""

    pred: str
    clips: tuple[str, ...]
    rule: str
    rank: tuple[int, ...]


def pair(
    truth: Mapping[str, pathlib.Path],
    pred: Mapping[str, pathlib.Path],
    *,
    match: str | None = None,
    table: Mapping[str, str] | None = None,
) -> Pairing:
    """Finds the prediction of each true clip; never guesses.

    In this order: the rows of `table`; then, if `match` is given, what it names and nothing else;
    otherwise the prediction of the same relative path, the one with the longest common end of the
    path (folders and name, or the name alone), and the rules of `naming`. Of one tool's several
    videos of a clip the plain one is taken and the others are left out.

    Args:
      truth, pred: relative path without suffix -> path, as `find_videos` gives them.
      match: regular expression, searched in each prediction's relative path with suffix; its one
        group, or the group named clip, is the clip's name or relative path.
      table: clip -> prediction, as `read_table` gives it.

    Raises:
      TalkfaceError: `match` is no such expression, takes too long, or finds no clip; `table` names
        what is not there, or a prediction twice.
    """
    fixed = dict(table or {})
    _check_table(fixed, truth, pred)
    claims = [_Claim(name, (clip,), "table", (_BY_TABLE,)) for clip, name in fixed.items()]
    given = set(fixed.values())
    rest = [name for name in pred if name not in given]
    ends = Ends(truth)
    left_out: dict[str, str] = {}
    if match is not None:
        found = matching.names_of(match, {name: name + pred[name].suffix for name in rest})
        left_out = {name: "--match passes it over" for name in rest if name not in found}
        claims += [claim for name in found if (claim := _matched(name, found[name], ends))]
        if rest and len(claims) == len(fixed):
            name, clip = next(iter(found.items()))
            raise TalkfaceError(
                f"--match={match} names no true clip (of {name} it takes {clip!r}); let its group "
                "be a true clip's name"
            )
    else:
        claims += [claim for name in rest if (claim := _read(name, pred[name], ends))]
    return _resolve(truth, pred, claims, left_out)


def _check_table(
    table: Mapping[str, str], truth: Mapping[str, object], pred: Mapping[str, object]
) -> None:
    for clip, name in table.items():
        if clip not in truth or name not in pred:
            raise TalkfaceError(
                f"the table pairs {clip} with {name}, of which there is no such "
                f"{'prediction' if clip in truth else 'true clip'}; name one that is there"
            )
    for name, count in Counter(table.values()).items():
        if count > 1:
            raise TalkfaceError(f"the table names {name} twice; give each clip its own prediction")


def _matched(name: str, clip: str, ends: Ends) -> _Claim | None:
    clips, _ = ends.find(naming.bare(clip))
    return _Claim(name, tuple(clips), "--match", (_BY_MATCH,)) if clips else None


def _read(name: str, path: pathlib.Path, ends: Ends) -> _Claim | None:
    """What a prediction's name says by the first rule that leads to a clip."""
    for reading in naming.readings(name, path):
        hits = [hit for each in reading.names if (hit := ends.find(each))[0]]
        if not hits:
            continue
        clips = tuple(dict.fromkeys(clip for found, _ in hits for clip in found))
        common = max((k for _, k in hits), default=0)
        exact = all(k == 0 for _, k in hits)
        if reading.tool:
            return _Claim(name, clips, reading.tool, (_BY_TOOL, reading.preference, -common))
        rule = "same path" if exact else "end of the path" if common > 1 else "same name"
        return _Claim(name, clips, rule, (_EXACT,) if exact else (_BY_END, -common))
    return None


def _resolve(
    truth: Mapping[str, pathlib.Path],
    pred: Mapping[str, pathlib.Path],
    claims: Sequence[_Claim],
    left_out: dict[str, str],
) -> Pairing:
    """Each clip's best claim, if it is one."""
    by_clip: dict[str, list[_Claim]] = defaultdict(list)
    for claim in claims:
        for clip in claim.clips:
            by_clip[clip].append(claim)
    taken: dict[str, _Claim] = {}
    ambiguous: dict[str, str] = {}
    unclear: set[str] = set()
    for clip in truth:
        best = _best(by_clip[clip])
        if len(best) == 1 and best[0].clips == (clip,):
            taken[clip] = best[0]
        elif best:
            ambiguous[clip] = _doubt(clip, best)
            unclear |= {claim.pred for claim in best}
    winners = {claim.pred for claim in taken.values()}
    for claim in claims:
        if claim.pred in winners | unclear:
            continue
        clip = next((clip for clip in claim.clips if clip in taken), claim.clips[0])
        better = f"{taken[clip].pred} is taken" if clip in taken else "which others fit better"
        left_out[claim.pred] = f"a twin of {clip}, {better}"
    known = {claim.pred for claim in claims} | set(left_out)
    return Pairing(
        pairs={clip: pred[taken[clip].pred] if clip in taken else None for clip in truth},
        strangers=tuple(name for name in pred if name not in known),
        rules={clip: claim.rule for clip, claim in taken.items()},
        ambiguous=ambiguous,
        left_out=left_out,
    )


def _best(claims: Sequence[_Claim]) -> list[_Claim]:
    """The claims of the best rank; of several tools none is better than another."""
    level = min((claim.rank[0] for claim in claims), default=0)
    rivals: dict[str, list[_Claim]] = defaultdict(list)
    for claim in claims:
        if claim.rank[0] == level:
            rivals[claim.rule if level == _BY_TOOL else ""].append(claim)
    best = []
    for same in rivals.values():
        rank = min(claim.rank for claim in same)
        best += [claim for claim in same if claim.rank == rank]
    return best


def _doubt(clip: str, claims: Sequence[_Claim]) -> str:
    remedy = "say which with --match or a table"
    if len(claims) == 1:
        return f"ambiguous: {claims[0].pred} may be {_listed(claims[0].clips, 'or')}; {remedy}"
    fits = _listed([claim.pred for claim in claims], "and")
    return f"ambiguous: {fits} may each be {clip}; {remedy}"


def _listed(names: Sequence[str], word: str) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        return ", ".join(shown) + f" {word} {len(names) - _NAMED} more"
    return f" {word} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
