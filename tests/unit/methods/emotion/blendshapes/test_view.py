import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.cache import Cache
from talkface_jax.data.dataset import SegmentReader
from talkface_jax.errors import ConfigError
from talkface_jax.features import emotion
from talkface_jax.methods.emotion.blendshapes.config import FaceNoiseConfig
from talkface_jax.methods.emotion.blendshapes.view import EmotionView, disturb
from talkface_jax.records import EMOTIONS

QUIET = FaceNoiseConfig(exchanged=0, offset=0, gain=0, noise=0, damped=0)


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
    assert {1, 2} <= lengths and max(lengths) >= 16


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


class Known(SegmentReader):
    """A segment with a neutral one of its speaker, and others of other speakers, drawn in turn."""

    def __init__(self, segment, neutral=None, others=()):
        super().__init__(0, lambda: segment, Cache(2**30))
        self._neutral, self._drawn = neutral, list(others)

    def derived(self, name, make):
        return make(self.segment)

    def other_clip(self, rng, *, faces=True, emotion=None):
        assert emotion == EMOTIONS.index("neutral") and self.segment.info.emotion != emotion
        return self._neutral

    def other_speaker(self, rng, *, faces=True):
        return self._drawn.pop(0) if self._drawn else None


def at_rest(segment, level):
    """A neutral clip with scores around a level."""
    about = dataclasses.replace(segment.info, emotion=emotion.NEUTRAL, level=1)
    scores = np.full_like(segment.blendshapes, level)
    return dataclasses.replace(segment, info=about, blendshapes=scores)


def test_a_face_at_rest_is_exchanged_for_those_of_others(shown):
    segment = shown(emotion=4)
    calm = dataclasses.replace(segment, blendshapes=np.full_like(segment.blendshapes, 0.5))
    others = [
        Known(at_rest(segment, 0.4)),
        Known(shown(emotion=6), neutral=Known(at_rest(segment, 0.4))),
    ]
    reader = Known(calm, Known(at_rest(segment, 0.3)), others)
    view = EmotionView(dataclasses.replace(QUIET, exchanged=1))
    sample = view.sample(reader, 0, np.random.default_rng(0), train=True)
    # From 0.3 to 0.4, by 0.3 to 1.2 of the way.
    moved = sample["statistics"][:27] - 0.5
    assert np.ptp(moved) < 1e-6 and 0.03 < moved[0] < 0.12
    same = view.sample(reader, 0, np.random.default_rng(0), train=False)
    np.testing.assert_allclose(same["statistics"][:27], 0.5)


def test_without_neutral_clips_a_face_stays(shown):
    segment = shown(emotion=4)
    view = EmotionView(dataclasses.replace(QUIET, exchanged=1))
    alone = dataclasses.replace(segment, valid=np.arange(20) == 7)
    calm = Known(at_rest(segment, 0.1))
    readers = (
        SegmentReader.of(alone),
        Known(alone, others=[calm, calm]),
        Known(alone, calm, [calm]),
        Known(alone, calm, [calm, Known(shown(emotion=6))]),
    )
    for reader in readers:
        sample = view.sample(reader, 0, np.random.default_rng(0), train=True)
        wanted = emotion.statistics(segment.blendshapes[7:8])
        np.testing.assert_allclose(sample["statistics"], wanted, atol=1e-6)
