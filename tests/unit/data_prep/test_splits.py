"""Splits by speaker: what must hold whatever the clips, the shares and the seed."""

import collections
import dataclasses
import random

import pytest

from data_prep.datasets import mead, splits
from data_prep.datasets.listing import Listing
from data_prep.tree import Entry, Tree
from talkface_jax.errors import ConfigError
from talkface_jax.records import ClipInfo


def _clips(sizes, *, seed=0):
    """Clips of speakers with so many each, shuffled."""
    clips = [
        ClipInfo("fake", f"{name}/{k}", name, f"{name}/{k}.mp4", split="anything")
        for name, size in sizes.items()
        for k in range(size)
    ]
    random.Random(seed).shuffle(clips)
    return clips


def _sizes(seed):
    draw = random.Random(seed)
    return {f"speaker{k}": draw.randint(1, 40) for k in range(draw.randint(3, 60))}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("test", "val"), [(0.1, 0.0), (0.2, 0.1), (0.0, 0.3), (0.45, 0.45)])
def test_properties(seed, test, val):
    sizes = _sizes(seed)
    clips = _clips(sizes)
    made = splits.by_speaker(clips, seed=seed, test=test, val=val)
    assert [clip.clip for clip in made] == [clip.clip for clip in clips]
    speakers = collections.defaultdict(set)
    for clip in made:
        speakers[clip.split].add(clip.speaker)
    asked = {"train", *(["test"] if test else []), *(["val"] if val else [])}
    assert set(speakers) == asked
    assert sum(map(len, speakers.values())) == len(sizes)  # so none is on two sides
    shuffled = splits.by_speaker(_clips(sizes, seed=1), seed=seed, test=test, val=val)
    assert {c.clip: c.split for c in shuffled} == {c.clip: c.split for c in made}
    if len(sizes) > 20:
        shares = collections.Counter(clip.split for clip in made)
        assert abs(shares["test"] - test * len(clips)) <= max(sizes.values()) / 2
        assert abs(shares["val"] - val * len(clips)) <= max(sizes.values()) / 2


def test_the_seed_draws_the_speakers():
    clips = _clips({f"s{k}": 5 for k in range(30)})
    drawn = set()
    for seed in range(10):
        made = splits.by_speaker(clips, seed=seed)
        drawn.add(frozenset(clip.speaker for clip in made if clip.split == "test"))
        assert len([clip for clip in made if clip.split == "test"]) == 15
    assert len(drawn) > 5


def test_every_asked_split_has_a_speaker():
    clips = _clips({"a": 1000, "b": 1, "c": 1000})
    made = splits.by_speaker(clips, seed=0, test=0.001, val=0.001)
    assert {clip.split for clip in made} == {"train", "val", "test"}
    made = splits.by_speaker(clips, seed=0, test=0.9)
    assert {clip.split for clip in made} == {"train", "test"}
    assert {c.split for c in splits.by_speaker(clips, seed=0, test=0)} == {"train"}


@pytest.mark.parametrize(("share", "count"), [(0.12, 20), (0.13, 30)])
def test_the_nearer_share_is_taken(share, count):
    made = splits.by_speaker(_clips({f"s{k}": 10 for k in range(20)}), seed=0, test=share)
    assert sum(clip.split == "test" for clip in made) == count


def test_a_speaker_larger_than_the_share_stays_in_training():
    """HDTF's Radio: 66 of 436 clips, where 10 % are asked for."""
    sizes = {"Radio": 66} | {f"person{k}": 1 + k % 3 for k in range(190)}
    for seed in range(20):
        made = splits.by_speaker(_clips(sizes), seed=seed, test=0.1)
        count = sum(clip.split == "test" for clip in made)
        assert count == round(0.1 * len(made))


def test_what_cannot_be_split():
    clips = _clips({"a": 3, "b": 4})
    with pytest.raises(ConfigError, match="2 speakers cannot be split into test, val, train"):
        splits.by_speaker(clips, seed=0, test=0.2, val=0.2)
    with pytest.raises(ConfigError, match="0 speakers cannot"):
        splits.by_speaker([], seed=0)
    for test, val in ((0.5, 0.5), (-0.1, 0.2), (1.0, 0.0), (float("nan"), 0.0)):
        with pytest.raises(ConfigError, match="at least 0, their sum below 1"):
            splits.by_speaker(clips, seed=0, test=test, val=val)


def _listing(sizes, *, seed=0, tests=1, **fields):
    """Training clips of speakers with so many each, and `tests` test clips of everyone."""
    clips = [dataclasses.replace(clip, split="train") for clip in _clips(sizes, seed=seed)]
    clips += [
        ClipInfo("fake", f"{name}/test{k}", name, f"{name}/test{k}.mp4", split="test")
        for name in sizes
        for k in range(tests)
    ]
    return Listing(tuple(clips), ("a note",), **fields)


def _speakers(listing, split):
    return {clip.speaker for clip in listing.clips if clip.split == split}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [None, 0.1, 0.3])
def test_val_takes_whole_speakers_out_of_train_and_nothing_else(seed, share):
    sizes = _sizes(seed)
    listing = _listing(sizes)
    made = splits.with_val(listing, splits.ValSplit(share, seed))
    train, val = _speakers(made, "train"), _speakers(made, "val")
    assert train and val and not train & val
    assert train | val == set(sizes)
    assert [clip.clip for clip in made.clips] == [clip.clip for clip in listing.clips]
    moved = [a for a, b in zip(listing.clips, made.clips, strict=True) if a != b]
    assert all(clip.split == "train" and clip.speaker in val for clip in moved)
    assert _speakers(made, "test") == set(sizes), "the test takes of everyone stay"
    other = splits.with_val(_listing(sizes, seed=7), splits.ValSplit(share, seed))
    assert {c.clip: c.split for c in other.clips} == {c.clip: c.split for c in made.clips}
    if len(sizes) > 20:
        target = (share or 0.1) * sum(sizes.values())
        assert abs(sum(sizes[name] for name in val) - target) <= max(sizes.values()) / 2
    count = f"{len(val)} of {len(sizes)} speakers"
    assert made.notes[0] == "a note" and f"Taken out of train for val: {count}" in made.notes[1]


def test_the_seed_draws_who_is_val():
    listing = _listing({f"s{k}": 5 for k in range(20)})
    drawn = {
        frozenset(_speakers(splits.with_val(listing, splits.ValSplit(seed=seed)), "val"))
        for seed in range(10)
    }
    assert len(drawn) > 5
    assert {len(names) for names in drawn} == {2}


def test_too_few_speakers_have_no_val_split_and_are_told():
    listing = _listing({"a": 4, "b": 4})
    made = splits.with_val(listing, splits.ValSplit())
    assert made.clips == listing.clips
    assert made.notes[1].startswith("No val split: 2 speakers can train, and it takes 3; ")
    assert len(
        _speakers(splits.with_val(_listing({"a": 4, "b": 4, "c": 9}), splits.ValSplit()), "val")
    )
    # By request two are enough, of which one trains.
    made = splits.with_val(listing, splits.ValSplit(0.1))
    assert len(_speakers(made, "val")) == len(_speakers(made, "train")) == 1
    with pytest.raises(ConfigError, match=r"--val-share=0\.1: 1 speaker cannot be split"):
        splits.with_val(_listing({"a": 4}), splits.ValSplit(0.1))


def test_sets_that_have_their_splits_keep_them():
    plenty = {f"s{k}": 5 for k in range(9)}
    assert splits.with_val(_listing(plenty), splits.ValSplit(0.0)) == _listing(plenty)
    own = _listing(plenty)
    own = dataclasses.replace(
        own, clips=(dataclasses.replace(own.clips[0], split="val"), *own.clips[1:])
    )
    for listing in (own, _listing(plenty, complete=True)):
        assert splits.with_val(listing, splits.ValSplit()) == listing
        with pytest.raises(ConfigError, match=r"--val-share=0\.2: the data set has its own splits"):
            splits.with_val(listing, splits.ValSplit(0.2))
    only_test = Listing(tuple(c for c in own.clips if c.split == "test"))
    assert splits.with_val(only_test, splits.ValSplit()) == only_test


def test_splits_by_speaker_have_a_val_split_where_there_are_enough():
    few, enough = _listing({"a": 4, "b": 4}), _listing({"a": 4, "b": 4, "c": 4})
    made = splits.split_speakers(few, seed=0, test=0.1, val=None)
    assert {clip.split for clip in made.clips} == {"train", "test"}
    assert made.notes[1].startswith("No val split: 1 speaker can train, and")
    made = splits.split_speakers(enough, seed=0, test=0.1, val=None)
    assert [len(_speakers(made, name)) for name in ("train", "val", "test")] == [1, 1, 1]
    with pytest.raises(ConfigError, match="2 speakers cannot be split into test, val, train"):
        splits.split_speakers(few, seed=0, test=0.1, val=0.1)


def _mead(names):
    return mead.list_clips(Tree("raw", tuple(Entry(name, 5, 0) for name in sorted(names))))


@pytest.mark.parametrize("seed", range(4))
def test_mead_has_val_actors_whose_test_takes_stay_test(seed):
    names = [f"{actor}/video/front/{emotion}/level_1/{take:03d}.mp4"
             for actor in ("M003", "M005", "W009", "W011", "W015")
             for emotion, takes in (("angry", 9), ("neutral", 14))
             for take in range(1, takes + 1)]  # fmt: skip
    listing = _mead(names)
    made = splits.with_val(listing, splits.ValSplit(seed=seed))
    (actor,) = _speakers(made, "val")
    assert actor not in _speakers(made, "train") and len(_speakers(made, "train")) == 4
    was = {clip.clip: clip.split for clip in listing.clips}
    for clip in made.clips:
        expected = "val" if was[clip.clip] == "train" and clip.speaker == actor else was[clip.clip]
        assert clip.split == expected
    again = splits.with_val(_mead(names[::-1]), splits.ValSplit(seed=seed))
    assert again.clips == made.clips
