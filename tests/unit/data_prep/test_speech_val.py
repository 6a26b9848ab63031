"""The val split of the speech set: voices and sentences of its own."""

import pytest

from data_prep.speech import dataset, kokoro, plan
from data_prep.synthetic.sentences import val_sentences
from talkface_jax.data import pipeline
from talkface_jax.errors import ConfigError

VOICES = (*kokoro.HELD_OUT, "af_one", "bm_two")


def test_val_voices_and_sentences_stay_apart_whatever_the_seed():
    names = (*VOICES, "af_three", "am_four", "bf_five")
    drawn = set()
    for seed in range(8):
        made = plan.make_plan(60, 24, seed=seed, voices=names, val_clips=24)
        said = {s: {i.text for i in made if i.split == s} for s in ("train", "val", "test")}
        voices = {s: {i.voice for i in made if i.split == s} - {"hibari"} for s in said}
        assert {name: len(found) for name, found in voices.items()} == {
            "train": 3,
            "val": 2,
            "test": 6,
        }
        assert len(set.union(*voices.values())) == 11
        assert len(set.union(*said.values())) == sum(map(len, said.values()))
        assert all(i.speed == i.formant == i.pitch == 1 for i in made if i.split == "val")
        assert plan.val_voices(names[::-1], seed=seed) == plan.val_voices(names, seed=seed)
        drawn.add(plan.val_voices(names, seed=seed))
    assert len(drawn) > 2, "the seed draws them"


def test_a_val_split_leaves_training_a_voice_and_the_old_plan_as_it_was():
    assert plan.val_voices((*kokoro.HELD_OUT, "af_one"), seed=0) == ()
    assert len(plan.val_voices(VOICES, seed=0)) == 1
    without = plan.make_plan(10, 4, seed=3, voices=())
    assert plan.make_plan(10, 4, seed=3, voices=(), val_clips=5)[:14] == without
    with pytest.raises(ConfigError, match="--val-clips=25: there are 24"):
        plan.make_plan(4, 1, seed=0, voices=(), val_clips=25)


def test_a_speech_set_has_a_val_split_by_default(tmp_path):
    assert dataset.prepare_speech(tmp_path, clips=2).splits == {"test": 1, "train": 2, "val": 1}
    val = pipeline.open_dataset(tmp_path, "val")
    assert val.segment(0).info.text == val_sentences()[0]
