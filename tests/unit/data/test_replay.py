"""Replay faces: what is chosen, what a file keeps of it, and the packaged one."""

import collections
import dataclasses

import numpy as np
import pytest

from talkface_jax.data import memory, replay
from talkface_jax.emotions import EMOTIONS, NEUTRAL
from talkface_jax.errors import RecordError, WeightsError
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.images import decode_jpeg
from talkface_jax.methods.finetuning import replay_faces
from talkface_jax.records import RECORD_SIZE

HAPPY = EMOTIONS.index("happy")


def opening(segment):
    return measures.mouth_opening(segment.landmarks, get_scheme("mesh478"))


@pytest.fixture(scope="module")
def dataset(make_segment):
    """Two people: a neutral clip and two happy ones each; the last frames show no face."""
    segments = []
    for number, (speaker, emotion) in enumerate(
        (name, mood) for name in ("ann", "ben") for mood in (HAPPY, NEUTRAL, HAPPY)
    ):
        made = make_segment(seed=number, frames=12, invalid=(10, 11))
        info = dataclasses.replace(
            made.info, clip=f"clip{number}", speaker=speaker, emotion=emotion, level=2
        )
        segments.append(dataclasses.replace(made, info=info))
    return memory.hold(segments)


def test_everybody_gives_neutral_faces_first_then_mouths_from_wide_to_closed(dataset):
    chosen = replay.choose(dataset, count=8)
    assert [face.info.speaker for face in chosen] == ["ann", "ben"] * 4
    assert [face.info.emotion for face in chosen] == [NEUTRAL] * 4 + [HAPPY] * 4
    for number, face in enumerate(chosen):
        clip = dataset.segment(int(face.info.clip.removeprefix("clip")))
        assert len(face) == 1 and face.valid.all()
        (frame,) = np.flatnonzero((clip.landmarks == face.landmarks).all((1, 2)))
        assert face.frames == (clip.frames[frame],) and frame < 10
        if number in (2, 3):
            assert opening(face)[0] == opening(clip)[:10].max()
    # The widest mouth of the first happy clip, a less open one of the second.
    wide, less = chosen[4], chosen[6]
    assert opening(wide)[0] == opening(dataset.segment(0))[:10].max()
    assert less.info.clip == "clip2"
    assert opening(less)[0] == np.sort(opening(dataset.segment(2))[:10])[::-1][2]


def test_too_small_a_set_is_refused(dataset):
    with pytest.raises(RecordError, match=r"gives \d+ replay faces of 64; give a larger set"):
        replay.choose(dataset)


def test_a_file_keeps_what_views_see(dataset):
    chosen = replay.choose(dataset, count=6)
    data = replay.pack(chosen, licence="nobody's")
    assert data == replay.pack(chosen, licence="nobody's")
    found = replay.unpack(data, where="there")
    assert [face.frames for face in found] == [face.frames for face in chosen]
    names = {"person00": "ann", "person01": "ben"}
    for face, given in zip(found, chosen, strict=True):
        assert names[face.info.speaker] == given.info.speaker
        assert (face.info.emotion, face.info.level) == (given.info.emotion, given.info.level)
        assert (face.info.dataset, face.info.licence) == ("replay", "nobody's")
        np.testing.assert_allclose(face.landmarks, given.landmarks, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(face.box, given.box)
        assert face.landmarks.dtype == np.float32 and len(face.audio) == 640


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "text"])
def test_what_is_no_such_file(dataset, damage):
    from safetensors.numpy import save

    data = replay.pack(replay.choose(dataset, count=4), licence="nobody's")
    given = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "other": save({"x": np.zeros(3)}, {"format": "else"}),
        "text": b"not at all a file of faces",
    }[damage]
    with pytest.raises(WeightsError, match=r"^there holds no replay faces \(.*\); export"):
        replay.unpack(given, where="there")


def test_the_packaged_faces():
    """64 of twelve people, every emotion, and two neutral ones of each; open and closed mouths."""
    faces = replay.unpack(replay_faces(), where="the package")
    assert len(faces) == replay.COUNT
    people = collections.Counter(face.info.speaker for face in faces)
    assert len(people) == 12 and min(people.values()) >= 5
    assert {face.info.emotion for face in faces} == set(range(8))
    neutral = collections.Counter(f.info.speaker for f in faces if f.info.emotion == NEUTRAL)
    assert set(neutral) == set(people) and min(neutral.values()) == 2
    openings = np.array([opening(face)[0] for face in faces])
    assert np.mean(openings > 0.1) > 0.3 and np.mean(openings < 0.065) > 0.1
    for face in faces:
        assert face.info.licence.startswith("CC0-1.0")
        assert decode_jpeg(face.frames[0]).shape == (RECORD_SIZE, RECORD_SIZE, 3)
        assert (np.abs(face.landmarks[..., :2] - 0.5) < 0.5).mean() > 0.99
