"""Replay faces: what is chosen, what a file keeps of it, and the packaged one."""

import collections
import dataclasses

import numpy as np
import pytest

from talkface_jax.data import memory, replay
from talkface_jax.emotions import EMOTIONS, NEUTRAL
from talkface_jax.errors import RecordError, WeightsError
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.identity import identity_frame
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


def test_everybody_gives_a_neutral_pair_first_then_mouths_from_wide_to_closed(dataset):
    chosen = replay.choose(dataset, count=12)
    assert [pair.info.speaker for pair in chosen] == ["ann", "ben"] * 3
    assert [pair.info.emotion for pair in chosen] == [NEUTRAL] * 2 + [HAPPY] * 4
    for pair in chosen:
        clip = dataset.segment(int(pair.info.clip.removeprefix("clip")))
        assert len(pair) == 2 and pair.valid.all()
        frames = [
            int(np.flatnonzero((clip.landmarks == row).all((1, 2)))[0]) for row in pair.landmarks
        ]
        assert pair.frames == tuple(clip.frames[frame] for frame in frames) and max(frames) < 10
        lips, eyes = opening(clip), measures.eye_opening(clip.landmarks)
        own = identity_frame(lips=lips, eyes=eyes, valid=clip.valid)
        others = np.sort(np.delete(lips[:10], own))[::-1]
        # The first clip of an emotion gives its widest mouth, the second a less open one.
        wanted = others[2] if pair.info.clip in ("clip2", "clip5") else others[0]
        assert frames[0] == own and opening(pair)[1] == wanted


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
        assert face.landmarks.dtype == np.float32 and len(face.audio) == 1280


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "list", "text"])
def test_what_is_no_such_file(dataset, damage):
    from safetensors.numpy import save

    data = replay.pack(replay.choose(dataset, count=4), licence="nobody's")
    given = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "other": save({"x": np.zeros(3)}, {"format": "else"}),
        "list": save({"x": np.zeros(3)}, {"talkface": "[1, 2]"}),
        "text": b"not at all a file of faces",
    }[damage]
    with pytest.raises(WeightsError, match=r"^there holds no replay faces \(.*\); export"):
        replay.unpack(given, where="there")


def test_the_packaged_faces():
    """64 of twelve people, every emotion, and a neutral clip of each; open and closed mouths."""
    pairs = replay.unpack(replay_faces(), where="the package")
    assert sum(map(len, pairs)) == replay.COUNT and {len(pair) for pair in pairs} == {2}
    people = collections.Counter(pair.info.speaker for pair in pairs)
    assert len(people) == 12 and min(people.values()) >= 2
    assert {pair.info.emotion for pair in pairs} == set(range(8))
    neutral = collections.Counter(p.info.speaker for p in pairs if p.info.emotion == NEUTRAL)
    assert set(neutral) == set(people) and set(neutral.values()) == {1}
    openings = np.array([opening(pair) for pair in pairs])
    assert np.mean(openings[:, 1] > 0.1) > 0.5 and np.mean(openings[:, 0] < 0.08) > 0.5
    for pair in pairs:
        assert pair.info.licence.startswith("CC0-1.0")
        for image in pair.frames:
            assert decode_jpeg(image).shape == (RECORD_SIZE, RECORD_SIZE, 3)
        assert (np.abs(pair.landmarks[..., :2] - 0.5) < 0.5).mean() > 0.99
