"""What is counted of a reader that finds what the first blendshape says."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.data.dataset import open_dataset
from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
from talkface_jax.data.schema import encode, record_meta
from talkface_jax.data.store import ShardWriter
from talkface_jax.errors import ConfigError
from talkface_jax.features.emotion import NEUTRAL, EmotionReader, Reading
from talkface_jax.methods.emotion import scores


class Told(EmotionReader):
    """Finds the emotion that the median frame says, by its score 1; its intensity is score 2."""

    def __init__(self):
        pass

    def read(self, blendshapes, valid=None):
        rows = blendshapes if valid is None else blendshapes[valid]
        middle = np.median(rows, axis=0)
        likely = np.eye(8, dtype=np.float32)[round(float(middle[1]))]
        return Reading(likely, float(middle[2]))


def segment_of(segment, found, strength, odd=0):
    """As `Told` reads it: `odd` frames, from the first on, are read as class 0."""
    said = segment.blendshapes.copy()
    said[:, 1], said[:, 2] = found, strength
    said[:odd, 1] = 0
    return dataclasses.replace(segment, blendshapes=said)


def prepared(folder, segments):
    path = folder / "test.tfrecord"
    with ShardWriter(path) as writer:
        for segment in segments:
            writer.write(encode(segment), record_meta(segment))
    write_manifest(folder, Manifest("fake", (shard_entry(path, "test"),), len(segments)))
    return open_dataset(folder, "test")


def test_scores_count_segments_frames_and_levels(tmp_path, shown):
    dataset = prepared(
        tmp_path,
        [
            segment_of(shown(emotion=4, level=1, split="test"), 4, 0.5),
            segment_of(shown(emotion=4, level=3, split="test"), 6, 0.9),
            segment_of(shown(emotion=2, level=3, split="test"), 2, 1.0, odd=6),
            segment_of(shown(emotion=NEUTRAL, level=1, split="test"), 4, 0.2),
        ],
    )
    found = scores.score_reader(Told(), dataset)
    assert found.segments[4, 4] == found.segments[4, 6] == found.segments[2, 2] == 1
    assert found.segments[NEUTRAL, 4] == 1 and found.segments.sum() == 4
    assert scores.accuracy(found.segments) == pytest.approx((0.5 + 1 + 0) / 3)
    assert found.levels[1] == 1 and found.levels[3] == 0.5 and np.isnan(found.levels[2])
    assert found.intensity_error == pytest.approx((0.5 - 1 / 3 + 0.1 + 0) / 3)
    assert found.strengths[0] == pytest.approx(0.2) and found.strengths[1] == pytest.approx(0.5)
    # Ten of the 18 valid frames of each; of the third, those before frame 6 say something else.
    picks = np.delete(np.arange(20), [3, 4])[np.linspace(0, 17, 10).round().astype(int)]
    assert found.frames.sum() == 40
    assert found.frames[2, 0] == (picks < 6).sum()


def test_a_split_without_labels_is_refused(tmp_path, shown):
    with pytest.raises(ConfigError, match="has no emotion, which"):
        scores.score_reader(Told(), prepared(tmp_path, [shown(emotion=-1, split="test")]))
    assert np.isnan(scores.accuracy(np.zeros((8, 8))))
