import dataclasses

import numpy as np
import pytest

from talkface_jax.data import example, schema
from talkface_jax.errors import RecordError


@pytest.fixture(scope="module")
def segment(make_segment):
    return make_segment(seed=5, frames=26, start=100, invalid=(0, 1, 9, 25))


def assert_equal(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        elif field.name == "context":
            for one, other in zip(x, y, strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            assert x == y, field.name


def test_round_trip(segment):
    data = schema.encode(segment)
    assert_equal(schema.decode(data), segment)
    assert schema.encode(schema.decode(data)) == data


def test_meta_tells_the_runs_of_faces(segment):
    meta = schema.record_meta(segment)
    assert meta.runs == ((2, 7), (10, 15))
    assert (meta.clip, meta.start, meta.frames, meta.valid) == ("fake/clip5", 100, 26, 22)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": ()}, "0 images for 26 frames"),
        ({"audio": np.zeros(7, np.int16)}, "audio of shape"),
        ({"landmarks": np.zeros((26, 468, 3), np.float32)}, "landmarks of shape"),
        ({"box": np.full((26, 4), np.nan, np.float32)}, "box is not finite"),
        ({"valid": np.ones(126, bool)}, "126 frames are not between"),
    ],
)
def test_contradictions_are_not_stored(segment, change, message):
    with pytest.raises(RecordError, match=message):
        schema.encode(dataclasses.replace(segment, **change))


def test_another_version_is_told(segment):
    features = example.loads(schema.encode(segment))
    features["schema"] = [99]
    with pytest.raises(RecordError, match=r"version 99, this program reads 1.*talkface prepare"):
        schema.decode(example.dumps(features))


def test_a_missing_or_short_feature_is_told(segment):
    features = example.loads(schema.encode(segment))
    short = {**features, "landmarks": [features["landmarks"][0][:-4]]}
    with pytest.raises(RecordError, match="malformed"):
        schema.decode(example.dumps(short))
    del features["head"]
    with pytest.raises(RecordError, match=r"incomplete.*head"):
        schema.decode(example.dumps(features))
