import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.errors import ConfigError
from talkface_jax.features import emotion
from talkface_jax.landmarks import blendshapes
from talkface_jax.methods.emotion.blendshapes.config import FaceNoiseConfig
from talkface_jax.methods.emotion.blendshapes.view import EmotionView, disturb
from talkface_jax.records import EMOTIONS

QUIET = FaceNoiseConfig(offset=0, gain=0, noise=0, mirrored=0, damped=0)


def test_samples_are_stretches_of_valid_frames_of_any_length(shown):
    segment = shown()
    reader, view = SegmentReader.of(segment), EmotionView(QUIET)
    scores = segment.blendshapes[segment.valid]
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(60):
        sample = view.sample(reader, 0, rng, train=True)
        matches = [
            length
            for length in range(1, 19)
            for first in range(19 - length)
            if np.array_equal(
                emotion.statistics(scores[first : first + length]), sample["statistics"]
            )
        ]
        assert len(matches) == 1
        lengths |= set(matches)
        assert sample["emotion"] == 4 and sample["intensity"] == np.float32(2 / 3)
    assert {1, 2, 18} <= lengths


def test_spec_is_what_samples_are(shown):
    view = pickle.loads(pickle.dumps(EmotionView()))
    sample = view.sample(SegmentReader.of(shown()), 0, np.random.default_rng(0), train=True)
    for name, item in view.spec(3).items():
        assert (sample[name].shape, sample[name].dtype) == (item.shape[1:], item.dtype), name


def test_neutral_has_no_intensity_whatever_its_level(shown):
    segment = shown(emotion=EMOTIONS.index("neutral"), level=3)
    sample = EmotionView().sample(
        SegmentReader.of(segment), 0, np.random.default_rng(0), train=False
    )
    assert sample["intensity"] == 0


def test_only_training_is_disturbed(shown):
    segment = shown()
    one = dataclasses.replace(segment, valid=np.arange(20) == 7)
    loud = EmotionView(FaceNoiseConfig(offset=0.3))
    rng = np.random.default_rng(0)
    plain = loud.sample(SegmentReader.of(one), 0, rng, train=False)["statistics"]
    np.testing.assert_array_equal(plain, emotion.statistics(segment.blendshapes[7:8]))
    other = loud.sample(SegmentReader.of(one), 0, rng, train=True)["statistics"]
    assert np.abs(other - plain).max() > 0.1


@pytest.mark.parametrize(
    ("label", "lacks"), [({"emotion": -1}, "emotion"), ({"level": -1}, "level")]
)
def test_a_segment_without_label_is_named(shown, label, lacks):
    with pytest.raises(ConfigError, match=f"^clip clip0 of data set fake has no {lacks}, which"):
        EmotionView().sample(
            SegmentReader.of(shown(**label)), 0, np.random.default_rng(0), train=True
        )


def test_disturbances_do_what_they_say():
    rng = np.random.default_rng(0)
    scores = np.full((200, 52), 0.5, np.float32)
    scores[:, 44], scores[:, 45] = 0.9, 0.1
    np.testing.assert_array_equal(disturb(rng, scores, QUIET), scores)
    mirrored = disturb(rng, scores, dataclasses.replace(QUIET, mirrored=1))
    np.testing.assert_array_equal(mirrored, blendshapes.mirror(scores))
    flat = np.full((200, 52), 0.5, np.float32)
    moved = disturb(rng, flat, dataclasses.replace(QUIET, offset=0.05)) - flat
    assert np.ptp(moved, axis=0).max() == 0 and 0.03 < moved[0].std() < 0.07
    scaled = disturb(rng, flat, dataclasses.replace(QUIET, gain=0.1)) / flat
    assert np.ptp(scaled, axis=0).max() == 0 and 0.07 < np.log(scaled[0]).std() < 0.13
    noisy = disturb(rng, flat, dataclasses.replace(QUIET, noise=0.02)) - flat
    assert noisy.std() == pytest.approx(0.02, abs=0.001)
    damped = disturb(rng, flat, dataclasses.replace(QUIET, damped=1))[0]
    assert 0.05 < (damped < 0.5).mean() < 0.5 and damped.max() == 0.5
    wild = disturb(rng, flat, FaceNoiseConfig(offset=3.0))
    assert wild.min() == 0 and wild.max() == 1 and wild.dtype == np.float32
