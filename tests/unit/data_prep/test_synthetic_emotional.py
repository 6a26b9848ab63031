"""One sentence in every emotion: the plan, the same sound in all, and a set as others are."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from data_prep import tree
from data_prep.datasets import synthetic as adapter
from data_prep.synthetic import dataset, emotional, identity, sentences
from talkface_jax.errors import ConfigError
from talkface_jax.records import EMOTIONS


def test_every_person_says_one_sentence_in_all_emotions():
    plans = emotional.plan_emotional(people=4, seed=0)
    assert [plan.index for plan in plans] == list(range(32))
    assert len({plan.clip for plan in plans}) == 32 and {plan.split for plan in plans} == {"test"}
    held_out = sentences.held_out_sentences()
    texts = []
    for number, person in enumerate(identity.held_out_cast()[:4]):
        mine = plans[8 * number : 8 * number + 8]
        assert {plan.actor for plan in mine} == {person.name}
        assert [plan.emotion for plan in mine] == list(EMOTIONS)
        assert all(plan.level == (1 if plan.emotion == "neutral" else 3) for plan in mine)
        ((text, voice),) = {(plan.text, plan.voice) for plan in mine}
        texts.append(text)
        assert voice == number
    assert len(set(texts)) == 4 and set(texts) <= set(held_out)
    longest = max(map(len, texts))
    assert sum(len(text) < longest for text in held_out) < 8


def test_fewer_people_say_the_same_and_another_seed_something_else():
    plans = emotional.plan_emotional(people=4, seed=0)
    assert emotional.plan_emotional(people=2, seed=0) == plans[:16]
    assert emotional.plan_emotional(people=4, seed=1) != plans


@pytest.mark.parametrize("people", [0, 5])
def test_no_more_people_than_are_held_out(people):
    with pytest.raises(ConfigError, match=f"there are 4 held-out people, not {people}; ask for 1"):
        emotional.plan_emotional(people=people, seed=0)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Two emotions of one person, and one of them in a voice of its own."""
    out = tmp_path_factory.mktemp("spoken")
    angry, *_, surprised = emotional.plan_emotional(people=1, seed=0)
    alone = dataclasses.replace(angry, voice=None, number=2)
    for plan in (angry, surprised, alone):
        dataset.make_clip(dataclasses.replace(plan, text="No."), str(out), 0)
    return out, angry, surprised, alone


def test_the_voice_is_the_same_in_all_emotions(spoken):
    out, angry, surprised, alone = spoken
    sounds = [(out / plan.audio).read_bytes() for plan in (angry, surprised, alone)]
    assert sounds[0] == sounds[1] != sounds[2]
    truths = [np.load(out / plan.truth, allow_pickle=False) for plan in (angry, surprised)]
    for name in ("phonemes", "phoneme_times"):
        np.testing.assert_array_equal(*(truth[name] for truth in truths))
    assert all(not np.array_equal(*(t[name] for t in truths)) for name in ("weights", "pose"))


def test_a_voice_of_its_own_changes_no_clip_of_the_other_sets(spoken):
    """What is drawn for such a clip, the first numbers of its generator, is pinned."""
    out, *_, alone = spoken
    rng = np.random.default_rng([0, 1, alone.index])
    _, _, before, _ = (
        rng.uniform(*ends) for ends in ((0.92, 1.08), (0.85, 1.15), (0.05, 0.25), (0.1, 0.3))
    )
    with np.load(out / alone.truth, allow_pickle=False) as truth:
        first = next(
            t for s, t in zip(truth["phonemes"], truth["phoneme_times"], strict=True) if s == "^"
        )
        assert first[0] == pytest.approx(round(before * 24_000) / 24_000, abs=1e-6)


def test_the_set_is_listed_as_others_are_and_kept(tmp_path, monkeypatch):
    def make(plan, out, seed):
        for name in (plan.video, plan.audio, plan.truth):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{plan} {seed}")
        return 25

    monkeypatch.setattr(dataset, "make_clip", make)
    summary = emotional.generate_emotional(tmp_path, people=2, seed=7)
    assert (summary.clips, summary.made, summary.frames) == (16, 16, 400)
    clips = adapter.list_clips(tree.scan(tmp_path)).clips
    assert [EMOTIONS[clip.emotion] for clip in clips] == 2 * list(EMOTIONS)
    assert {clip.split for clip in clips} == {"test"}
    stored = json.loads((tmp_path / "metadata.json").read_text())
    assert (stored["emotional_people"], stored["seed"]) == (2, 7)
    digest = hashlib.sha256((tmp_path / "metadata.json").read_bytes()).hexdigest()
    assert emotional.generate_emotional(tmp_path, people=2, seed=7).made == 0
    assert hashlib.sha256((tmp_path / "metadata.json").read_bytes()).hexdigest() == digest
    with pytest.raises(ConfigError, match="choose another folder or delete it"):
        emotional.generate_emotional(tmp_path, people=1, seed=7)
