import pytest

from talkface_jax.data import example
from talkface_jax.errors import RecordError


def test_round_trip():
    features = {"images": [b"a", b"", b"\xff"], "numbers": [1, -2, 2**40], "rates": [0.5, -1.25]}
    assert example.loads(example.dumps(features)) == features
    assert example.loads(example.dumps({"none": []})) == {"none": []}


def test_bytes_are_those_of_tensorflow():
    # tf.train.Example(features={"a": int64 [1, 300]}).SerializeToString(), by the wire format.
    packed = bytes([0x1A, 0x05, 0x0A, 0x03, 0x01, 0xAC, 0x02])
    entry = bytes([0x0A, 0x01]) + b"a" + bytes([0x12, len(packed)]) + packed
    inner = bytes([0x0A, len(entry)]) + entry
    assert example.dumps({"a": [1, 300]}) == bytes([0x0A, len(inner)]) + inner


def test_order_of_features_does_not_matter():
    one = example.dumps({"a": [1], "b": [b"x"], "c": [2.0]})
    assert one == example.dumps({"c": [2.0], "b": [b"x"], "a": [1]})


def test_garbage_is_told():
    with pytest.raises(RecordError, match=r"not a tf\.train\.Example"):
        example.loads(b"\xff\xff\xff\xff")
