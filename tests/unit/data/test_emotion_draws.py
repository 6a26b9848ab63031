"""Segments of the same speaker that show a certain emotion: drawn by the index alone."""

import collections
import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data import pipeline
from talkface_jax.records import EMOTIONS

HAPPY, NEUTRAL = EMOTIONS.index("happy"), EMOTIONS.index("neutral")
FACELESS = 9


@pytest.fixture
def moods(tmp_path, make_segment, write):
    """Ann's clips 0 (two segments) and 1 are neutral, 2 is happy, 3 neutral without a face; ben's
    is neutral."""

    def labelled(emotion, seed, clip, speaker, start, frames):
        invalid = tuple(range(frames)) if seed == FACELESS else ()
        segment = make_segment(seed=seed, frames=frames, start=start, invalid=invalid)
        info = dataclasses.replace(
            segment.info, clip=f"clip{clip}", speaker=speaker, emotion=emotion, level=2
        )
        return dataclasses.replace(segment, info=info)

    rows = [
        labelled(NEUTRAL, 1, 0, "ann", 0, 12),
        labelled(NEUTRAL, 2, 0, "ann", 12, 12),
        labelled(NEUTRAL, 3, 1, "ann", 0, 9),
        labelled(HAPPY, 4, 2, "ann", 0, 9),
        labelled(NEUTRAL, FACELESS, 3, "ann", 0, 9),
        labelled(NEUTRAL, 5, 4, "ben", 0, 9),
    ]
    return pipeline.open_dataset(write(tmp_path, {"train-0": rows}), "train")


def drawn(dataset, record, count=3000, **options):
    rng = np.random.default_rng(3)
    readers = [dataset.reader(record).other_clip(rng, **options) for _ in range(count)]
    return collections.Counter(dataset.metas.index(reader.meta) for reader in readers)


def test_clips_of_an_emotion_are_drawn_by_the_index_alone(moods, monkeypatch):
    monkeypatch.setattr(pipeline.PreparedDataset, "segment", None)
    counts = drawn(moods, 3, emotion=NEUTRAL)
    assert set(counts) == {0, 1, 2}
    assert abs(counts[2] - 1500) < 150, "a clip of two segments is one clip"
    assert set(drawn(moods, 0, emotion=NEUTRAL)) == {2}, "another clip than its own"
    assert set(drawn(moods, 2, emotion=NEUTRAL, faces=False)) == {0, 1, 4}
    assert set(drawn(moods, 0)) == {2, 3}
    rng = np.random.default_rng(0)
    for record, emotion in ((5, NEUTRAL), (3, HAPPY), (0, 0), (0, -1)):
        assert moods.reader(record).other_clip(rng, emotion=emotion) is None
    assert rng.random() == np.random.default_rng(0).random(), "without a draw"
    copy = pickle.loads(pickle.dumps(moods))
    assert copy.relations.other_clip(0, np.random.default_rng(0), faces=True, emotion=NEUTRAL) == 2
    assert copy.relations.meta(3) == moods.metas[3] and copy.relations.meta(3).emotion == HAPPY


def test_a_draw_of_an_emotion_costs_as_much_as_another(moods):
    one, two = (np.random.default_rng(5) for _ in range(2))
    moods.reader(3).other_clip(one, emotion=NEUTRAL)
    moods.reader(3).other_clip(two)
    assert one.random() == two.random()
