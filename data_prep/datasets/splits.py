"""Splits that share no speaker, as a function of the clips' speakers and a seed."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

from talkface_jax.errors import ConfigError
from talkface_jax.records import ClipInfo


def by_speaker(
    clips: Sequence[ClipInfo], *, seed: int, test: float = 0.1, val: float = 0.0
) -> list[ClipInfo]:
    """The clips, in the order given, with new splits: "train", "test" and perhaps "val".

    Speakers are taken in an order that is drawn from the seed; each split takes those that still
    fit into its share of the clips, and one more if that brings it nearer to its share. So the
    shares are met to within half the clips of a speaker, and the result depends neither on the
    order of the clips nor on what the splits were.

    Args:
      clips: of any number of data sets.
      seed: another seed draws other speakers.
      test, val: shares of the clips in [0, 1), together below 1; the rest is "train".

    Raises:
      ConfigError: shares that are none, or fewer speakers than splits.
    """
    if min(test, val) < 0 or not test + val < 1:
        raise ConfigError(
            f"--test-share={test:g} and --val-share={val:g} must be at least 0, their sum below 1."
        )
    counts = collections.Counter(clip.speaker for clip in clips)
    wanted = {name: share for name, share in (("test", test), ("val", val)) if share > 0}
    if len(counts) <= len(wanted):
        raise ConfigError(
            f"{len(counts)} speakers cannot be split into {', '.join([*wanted, 'train'])} without "
            "sharing one; give more speakers or fewer splits (--test-share=0, --val-share=0)."
        )
    left = sorted(counts, key=lambda speaker: _draw(seed, speaker))
    split_of: dict[str, str] = {}
    for k, (name, share) in enumerate(wanted.items()):
        reserve = len(wanted) - k  # one speaker for each split to come, training among them
        chosen = _choose(left, counts, share * len(clips), most=len(left) - reserve)
        split_of |= dict.fromkeys(chosen, name)
        left = [speaker for speaker in left if speaker not in split_of]
    return [dataclasses.replace(c, split=split_of.get(c.speaker, "train")) for c in clips]


def _choose(
    speakers: Iterable[str], counts: collections.Counter[str], target: float, *, most: int
) -> list[str]:
    """At least one and at most `most` speakers who together have about `target` clips."""
    chosen: list[str] = []
    rest: list[str] = []
    missing = target
    for speaker in speakers:
        fits = counts[speaker] <= missing and len(chosen) < most
        (chosen if fits else rest).append(speaker)
        missing -= counts[speaker] if fits else 0
    if rest and len(chosen) < most:
        smallest = min(rest, key=lambda speaker: counts[speaker])
        if not chosen or counts[smallest] - missing < missing:
            chosen.append(smallest)
    return chosen


def _draw(seed: int, speaker: str) -> bytes:
    return hashlib.sha256(f"{seed}/{speaker}".encode()).digest()
