"""Splits by speaker: what must hold whatever the clips, the shares and the seed."""

import collections
import random

import pytest

from data_prep.datasets import splits
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
