import dataclasses

import numpy as np
import pytest
from verifying import clip_of_two, found, only, write

from talkface_jax.data import example, manifest, schema, store, verify
from talkface_jax.data.inspect import Images
from talkface_jax.media.images import encode_jpeg


@pytest.fixture(scope="module")
def segments(make_segment):
    return clip_of_two(make_segment)


def _head(segment, change):
    head = segment.head.copy()
    change(head[4])
    return {"head": head}


def _stretched(head):
    head[0, 0] = 1.2


def _mirrored(head):
    head[0, 0] = -1


def _shifted_row(head):
    head[3, 0] = 1


def _array(name, change):
    def apply(segment):
        array = getattr(segment, name).copy()
        change(array)
        return {name: array}

    return apply


def _set(*index, value):
    return lambda array: array.__setitem__(index, value)


def _image(data):
    def apply(segment):
        return {"frames": (*segment.frames[:2], data(segment.frames[2]), *segment.frames[3:])}

    return apply


def _info(**changes):
    return lambda segment: {"info": dataclasses.replace(segment.info, **changes)}


SMALL = encode_jpeg(np.zeros((128, 256, 3), np.uint8))
FAULTS = [
    (_image(lambda data: data[:-40]), "image", "crop 2 ("),
    (_image(lambda data: b"\x89PNG" + data), "image", "is no whole JPEG"),
    (_image(lambda data: data[:2] + data[-2:]), "image", "cannot be decoded"),
    (_image(lambda data: SMALL), "image", "is 256x128, not 256x256"),
    (_array("landmarks", lambda a: a.__isub__(1.5)), "landmarks", "only 0% of the points"),
    (_array("landmarks", _set(1, 5, 0, value=40.0)), "landmarks", "a coordinate of 40"),
    (_array("landmarks", _set(2, value=0.5)), "landmarks", "covers 0.0% of its crop"),
    (_array("valid", _set(2, value=False)), "landmarks", "points that are not zero"),
    (_array("blendshapes", _set(1, 9, value=1.5)), "blendshapes", "to 1.5 leave [0, 1]"),
    (_array("blendshapes", _set(1, 9, value=-0.2)), "blendshapes", "from -0.2 to"),
    (_array("box", _set(3, 2, value=900.0)), "box", "is not square"),
    (_array("box", _set(3, value=(9, 9, 9, 9))), "box", "a side of 0 pixels"),
    (lambda s: _head(s, _stretched), "head", "stretches or shears"),
    (lambda s: _head(s, _mirrored), "head", "mirrors"),
    (lambda s: _head(s, _shifted_row), "head", "a last row other"),
    (lambda s: {"source_fps": 0.0}, "info", "0 frames a second"),
    (lambda s: {"source_rate": -1}, "info", "-1 samples a second"),
    (lambda s: {"context": (np.ones(7, np.int16), s.context[1])}, "audio", "7 samples of sound"),
    (
        lambda s: {"context": (s.context[0], np.ones(3201, np.int16))},
        "audio",
        "3201 samples of sound after",
    ),
    (_info(emotion=8), "info", "emotion 8"),
    (_info(level=0), "info", "level 0"),
    (_info(speaker=""), "info", "speaker is empty"),
    (_info(split="test"), "info", "it is of fake, split test, its shard of fake, split train"),
]


@pytest.mark.parametrize(("change", "kind", "words"), FAULTS)
def test_a_fault_in_one_record_is_told_and_hides_no_other(segments, tmp_path, change, kind, words):
    other, segment = segments["train-0"][2], segments["train-1"][0]
    wrong = dataclasses.replace(segment, **change(segment))
    directory = write(tmp_path / "set", {"train-0": [wrong, other]})
    only(directory, kind, "train-0.tfrecord, record 0", words)
    assert verify.verify(directory).statistics.total.segments == 2


def test_faults_of_one_record_are_all_told(segments, tmp_path):
    segment = segments["train-1"][0]
    changes = [FAULTS[k][0](segment) for k in (0, 5, 8, 10, 12)]
    wrong = dataclasses.replace(segment, **{k: v for c in changes for k, v in c.items()})
    directory = write(tmp_path / "set", {"train-0": [wrong]})
    assert [row[0] for row in found(directory)] == [
        *("image", "box", "landmarks", "blendshapes", "head"),
    ]


def test_only_sound_needs_no_face(segments, tmp_path):
    segment = segments["train-1"][0]
    empty = {
        "valid": np.zeros_like(segment.valid),
        "landmarks": np.zeros_like(segment.landmarks),
    }
    faceless = dataclasses.replace(segment, **empty)
    directory = write(tmp_path / "set", {"train-0": [faceless]})
    only(directory, "landmarks", "train-0.tfrecord, record 0", "no frame has a face")
    heard = dataclasses.replace(faceless, **_info(view="sound")(segment))
    assert found(write(tmp_path / "heard", {"train-0": [heard]})) == []


def test_images_are_decoded_as_asked(segments, tmp_path):
    segment = segments["train-1"][0]
    wrong = dataclasses.replace(segment, **_image(lambda data: SMALL)(segment))
    first = dataclasses.replace(segment, frames=(SMALL, *segment.frames[1:]))
    directory = write(tmp_path / "set", {"train-0": [wrong]})
    assert len(found(directory, images=Images.ALL)) == 1
    assert found(directory, images=Images.SOME) == found(directory, images=Images.NONE) == []
    directory = write(tmp_path / "other", {"train-0": [first]})
    assert len(found(directory, images=Images.SOME)) == 1
    assert found(directory, images=Images.NONE) == []


def test_a_record_of_another_schema_is_told(segments, tmp_path):
    data = schema.encode(segments["train-1"][0])
    features = example.loads(data)
    features["landmarks"] = [features["landmarks"][0][:-4]]
    directory = tmp_path / "set"
    write(directory, {"train-0": [segments["train-0"][2], data]})
    path = directory / "train-0.tfrecord"
    meta = store.read_index(path).entries
    with store.ShardWriter(path) as writer:
        writer.write(schema.encode(segments["train-0"][2]), meta[0].meta)
        writer.write(example.dumps(features), meta[1].meta)
    made = manifest.read_manifest(directory)
    entry = manifest.shard_entry(path, "train")
    manifest.write_manifest(directory, dataclasses.replace(made, shards=(entry,)))
    only(directory, "schema", "train-0.tfrecord, record 1", "is incomplete or malformed")
