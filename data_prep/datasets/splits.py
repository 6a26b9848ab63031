"""Splits that share no speaker, as a function of the clips' speakers and a seed."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

from data_prep.datasets.listing import Listing, note
from talkface_jax.errors import ConfigError, counted
from talkface_jax.records import ClipInfo

TRAIN, VAL, TEST = "train", "val", "test"
VAL_SHARE = 0.1
ENOUGH = 3
"""Speakers from which on there is a val split without being asked for."""


@dataclasses.dataclass(frozen=True)
class ValSplit:
    """Training speakers whose training clips become the val split of a set that has none.

    Attributes:
      share: of the training clips, as near as whole speakers come; None for `VAL_SHARE` where at
        least `ENOUGH` speakers train, and nothing else; 0 for nothing.
      seed: who it is depends on it and on the speakers' names.
    """

    share: float | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SpeakerSplit:
    """Splits that share no speaker, in the place of the data set's own.

    Attributes:
      test, val: shares of the clips, as near as whole speakers come; the rest is for training.
        None for a val share of `VAL_SHARE`, or 0 where there are too few speakers.
      seed: the split is a function of it and of the speakers' names.
    """

    test: float = 0.1
    val: float | None = None
    seed: int = 0


def with_val(listing: Listing, wanted: ValSplit) -> Listing:
    """The listing with a val split taken out of its training split, which then shares no speaker.

    Nothing else moves: the test clips of a speaker of val stay test clips. A set that has a val
    split, or whose splits are complete, is given back as it is.

    Raises:
      ConfigError: a share was asked for that cannot be met.
    """
    if listing.complete or any(clip.split == VAL for clip in listing.clips):
        if wanted.share is not None:
            raise ConfigError(
                f"--val-share={wanted.share:g}: the data set has its own splits; leave it out, or "
                "add --split=speaker."
            )
        return listing
    training = [clip for clip in listing.clips if clip.split == TRAIN]
    counts = collections.Counter(clip.speaker for clip in training)
    share = wanted.share
    if share is None and not counts:
        return listing  # there is nothing to choose checkpoints of
    if share is None:
        if len(counts) < ENOUGH:
            return dataclasses.replace(listing, notes=(*listing.notes, _too_few(len(counts))))
        share = VAL_SHARE
    if not share:
        return listing
    if len(counts) < 2:
        raise ConfigError(
            f"--val-share={share:g}: {counted(len(counts), 'speaker')} cannot be split into train "
            "and val without sharing one; give more speakers or --val-share=0."
        )
    order = sorted(counts, key=lambda speaker: _draw(wanted.seed, speaker))
    chosen = set(_choose(order, counts, share * len(training), most=len(counts) - 1))
    clips = tuple(
        dataclasses.replace(clip, split=VAL)
        if clip.split == TRAIN and clip.speaker in chosen
        else clip
        for clip in listing.clips
    )
    told = note("Taken out of train for val", chosen, "speaker", of=len(counts))
    return dataclasses.replace(listing, clips=clips, notes=(*listing.notes, told))


def _too_few(speakers: int) -> str:
    return (
        f"No val split: {counted(speakers, 'speaker')} can train, and it takes {ENOUGH}; give more "
        "speakers, or train without evaluation (--config.train.eval_every=0 "
        "--config.train.preview_every=0 --config.train.best_metric=)."
    )


def split_speakers(listing: Listing, *, seed: int, test: float, val: float | None) -> Listing:
    """`by_speaker` of a listing; a note where there are too few speakers for an unasked val.

    Raises:
      ConfigError: as `by_speaker`.
    """
    few = len({clip.speaker for clip in listing.clips}) < ENOUGH
    clips = by_speaker(
        listing.clips, seed=seed, test=test, val=(0.0 if few else VAL_SHARE) if val is None else val
    )
    trained = len({clip.speaker for clip in clips if clip.split == TRAIN})
    notes = (_too_few(trained),) if few and val is None else ()
    return dataclasses.replace(listing, clips=tuple(clips), notes=(*listing.notes, *notes))


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
    wanted = {name: share for name, share in ((TEST, test), (VAL, val)) if share > 0}
    if len(counts) <= len(wanted):
        raise ConfigError(
            f"{len(counts)} speakers cannot be split into {', '.join([*wanted, TRAIN])} without "
            "sharing one; give more speakers or fewer splits (--test-share=0, --val-share=0)."
        )
    left = sorted(counts, key=lambda speaker: _draw(seed, speaker))
    split_of: dict[str, str] = {}
    for k, (name, share) in enumerate(wanted.items()):
        reserve = len(wanted) - k  # one speaker for each split to come, training among them
        chosen = _choose(left, counts, share * len(clips), most=len(left) - reserve)
        split_of |= dict.fromkeys(chosen, name)
        left = [speaker for speaker in left if speaker not in split_of]
    return [dataclasses.replace(c, split=split_of.get(c.speaker, TRAIN)) for c in clips]


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
