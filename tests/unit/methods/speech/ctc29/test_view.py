import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.errors import RecordError
from talkface_jax.features import alphabet, ctc29
from talkface_jax.methods.speech.ctc29.config import SoundConfig
from talkface_jax.methods.speech.ctc29.view import SpeechView

QUIET = SoundConfig(resample=0, gain=0, noise=0, echo=0, dull=0, masks=0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sample(segment, rng, *, train, **options):
    view = SpeechView(bands=8, most_characters=20, **options)
    out = view.sample(SegmentReader.of(segment), 0, rng, train=train)
    for key, item in view.spec(1).items():
        assert out[key].shape == item.shape[1:]
        assert out[key].dtype == item.dtype
    return out


def test_view_gives_the_sound_and_the_text(spoken, rng):
    out = sample(spoken, rng, train=False)
    samples = spoken.audio.astype(np.float32) / 32768
    np.testing.assert_array_equal(out["mel"], ctc29.log_mel(samples, bands=8))
    assert alphabet.decode(out["labels"]) == "it's a blue moon"
    assert (out["labels"][16:] == -1).all()


def test_training_moves_the_sound_and_loses_none_of_it(spoken):
    delays = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        mel = sample(spoken, rng, train=True, sound=QUIET)["mel"]
        loud = np.flatnonzero(mel.max(-1) > -2.5)
        delays.add(int(loud[0]))
        assert 199 <= loud[-1] - loud[0] + 1 <= 203
    assert len(delays) == 4


def test_resampling_changes_the_length_within_its_bounds(spoken):
    lengths = []
    for seed in range(8):
        sound = dataclasses.replace(QUIET, resample=0.1)
        mel = sample(spoken, np.random.default_rng(seed), train=True, sound=sound)["mel"]
        lengths.append(int((mel.max(-1) > -2.5).sum()))
    assert min(lengths) < 195 and max(lengths) > 205
    assert min(lengths) >= 180 and max(lengths) <= 226


def test_the_end_of_full_length_speech_is_never_cut(make_segment):
    """It may be played faster; slower, its last 0.2 s would not fit."""
    sound = np.zeros(125 * 640, np.int16)
    sound[-3200:] = np.random.default_rng(1).normal(0, 2000, 3200).astype(np.int16)
    sound[-1] = 5
    segment = make_segment(frames=125, sound=sound)
    segment = dataclasses.replace(
        segment, info=dataclasses.replace(segment.info, text="It's a blue moon.")
    )
    config = dataclasses.replace(QUIET, resample=0.2)
    for seed in range(6):
        mel = sample(segment, np.random.default_rng(seed), train=True, sound=config)["mel"]
        assert 16 <= (mel.max(-1) > -2.5).sum() <= 23


def test_noisy_evaluation_is_fixed_and_differs(spoken):
    loud = SoundConfig(noise=1.0, lowest_snr=0, highest_snr=1, noisy_evaluation=True)
    one, two = (sample(spoken, np.random.default_rng(3), train=False, sound=loud) for _ in "ab")
    np.testing.assert_array_equal(one["mel"], two["mel"])
    clean = sample(spoken, np.random.default_rng(3), train=False)["mel"]
    assert np.abs(one["mel"] - clean).mean() > 0.05


@pytest.mark.parametrize(("text", "what"), [("", "no text"), ("a" * 21, "21 characters")])
def test_a_segment_without_a_fitting_text_is_refused(spoken, rng, text, what):
    other = dataclasses.replace(spoken, info=dataclasses.replace(spoken.info, text=text))
    with pytest.raises(RecordError, match=what):
        sample(other, rng, train=False)


def test_view_is_picklable():
    view = SpeechView()
    assert pickle.loads(pickle.dumps(view)) == view
    assert not view.faces
