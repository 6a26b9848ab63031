"""Which predicted video belongs to which true one."""

import dataclasses
import pathlib
from collections import defaultdict

from talkface_jax.errors import MediaError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


def find_videos(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Videos below a directory by their relative path without suffix, sorted.

    Raises:
      MediaError: not a directory, or no video in it.
    """
    if not directory.is_dir():
        raise MediaError(
            f"{directory} is not a directory; name a directory of {VIDEO_SUFFIXES[0]} files"
        )
    videos = {
        path.relative_to(directory).with_suffix("").as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES
    }
    if not videos:
        raise MediaError(
            f"{directory} has no video ({', '.join(VIDEO_SUFFIXES)}); put the clips there"
        )
    return videos


@dataclasses.dataclass(frozen=True)
class Pairing:
    """`pairs`: clip -> predicted path or None; `strangers`: predictions without a truth."""

    pairs: dict[str, pathlib.Path | None]
    strangers: tuple[str, ...]


def pair(truth: dict[str, pathlib.Path], pred: dict[str, pathlib.Path]) -> Pairing:
    """Matches by relative path, else by stem where that is unique on both sides."""
    true_stems, pred_stems = defaultdict(list), defaultdict(list)
    for names, stems in ((truth, true_stems), (pred, pred_stems)):
        for name in names:
            stems[pathlib.PurePosixPath(name).name].append(name)
    matched: dict[str, str] = {name: name for name in truth if name in pred}
    taken = set(matched.values())
    for name in truth:
        stem = pathlib.PurePosixPath(name).name
        others = pred_stems[stem]
        if name in matched or len(true_stems[stem]) != 1 or len(others) != 1 or others[0] in taken:
            continue
        matched[name] = others[0]
        taken.add(others[0])
    return Pairing(
        pairs={name: pred[matched[name]] if name in matched else None for name in truth},
        strangers=tuple(name for name in pred if name not in taken),
    )
