"""Lips of made-up people: the person must vanish from them, the sentence must stay."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.errors import FaceError, TalkfaceError
from talkface_jax.evaluate import person_independence as persons
from talkface_jax.landmarks import retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.records import FaceTrack

IBUG = get_scheme("ibug68")
MOUTH = IBUG.indices[IBUG.groups["lips"]]
LOWER = IBUG.indices[[56, 57, 58, 65, 66, 67]]
CORNERS = {IBUG.indices[48]: -1, IBUG.indices[60]: -1, IBUG.indices[54]: 1, IBUG.indices[64]: 1}
PEOPLE = {"anna": (1.0, 1.0, 0.0), "ben": (1.3, 0.9, 0.04), "chris": (0.8, 1.2, -0.03)}
"""Width and height over the mean face's, and how far the mouth stands open at rest."""
SENTENCES = {"first": 1, "second": 2}


def curves(seed, frames=60):
    """Opening and width over time, smooth."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (frames + 8, 2))
    smooth = np.stack([np.convolve(row, np.ones(9) / 9, "valid") for row in noise.T])
    return 0.15 * np.abs(smooth[0]), 0.06 * smooth[1]


def track_of(person, opening, width, *, seed=0, strength=1.0, shift=0.0, skew=0.0):
    """A person whose lips move so, on a head that shifts, rolls and comes nearer; from the first
    frame to the last the mouth sinks by `shift` and its sides part by `skew`."""
    wide, high, rest = PEOPLE[person]
    flat = retarget.mean_mesh()
    depth = -np.sqrt(np.maximum(1.4 - flat[:, 0] ** 2 - 0.5 * flat[:, 1] ** 2, 0.05))
    mesh = np.tile(np.column_stack([flat, depth]), (len(opening), 1, 1))
    mesh[:, LOWER, 1] += strength * opening[:, None] + rest
    for point, side in CORNERS.items():
        mesh[:, point, 0] += strength * side * width
    along = np.linspace(-0.5, 0.5, len(mesh))[:, None]
    mesh[:, MOUTH, 1] += along * (shift + skew * flat[MOUTH, 0])
    mesh[..., :2] *= (wide, high)
    rng = np.random.default_rng(seed)
    for frame in mesh:
        roll, size = rng.uniform(-0.2, 0.2), rng.uniform(80, 120)
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        frame[:, :2] = frame[:, :2] @ turn * size + rng.uniform(200, 240, 2)
        frame[:, 2] *= size
    frames = len(mesh)
    return FaceTrack(
        landmarks=mesh.astype(np.float32),
        blendshapes=np.zeros((frames, 52), np.float32),
        head=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        box=np.tile(np.array([0, 0, 480, 480], np.float32), (frames, 1)),
        valid=np.ones(frames, bool),
        size=(480, 480),
    )


def lips(person, sentence, **how):
    seed = 10 * list(PEOPLE).index(person) + SENTENCES[sentence]
    track = track_of(person, *curves(SENTENCES[sentence]), seed=seed, **how)
    return persons.lip_motion(track)


@pytest.fixture(scope="module")
def motions():
    return {(person, said): lips(person, said) for person in PEOPLE for said in SENTENCES}


def test_people_vanish_and_the_curves_stay(motions):
    opening, width = curves(1)
    for person in PEOPLE:
        found = motions[person, "first"]
        assert found.lips.shape == (60, 20, 2)
        np.testing.assert_allclose(found.lips.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(found.lips.mean(1), 0, atol=1e-9)
        assert np.corrcoef(found.opening, opening)[0, 1] > 0.999
        assert np.corrcoef(found.width, width)[0, 1] > 0.999
    # Of the mean face itself in the unit of the mean face.
    mine = motions["anna", "first"]
    assert mine.opening.std() == pytest.approx(100 * opening.std(), rel=0.02)
    assert mine.width.std() == pytest.approx(200 * width.std(), rel=0.02)


def test_one_sentence_is_nearer_than_two(motions):
    found = persons.compare(motions)
    assert (len(found.sentence), len(found.person), len(found.nothing)) == (6, 3, 6)
    assert found.apart and found.ratio < 0.2
    assert min(pair.opening for pair in found.sentence) > 0.999
    assert max(pair.opening for pair in (*found.person, *found.nothing)) < 0.6
    lines = str(found).splitlines()
    assert lines[1].startswith("one person, two sentences: lips ") and "3 pairs" in lines[1]
    assert lines[-1] == f"ratio {found.ratio:.2f}"


def test_motions_of_the_persons_own_are_far_apart(motions):
    usual = {"anna": "first", "ben": "second", "chris": "first"}
    own = {key: motions[key[0], usual[key[0]]] for key in motions}
    found = persons.compare(own)
    assert not found.apart and found.ratio > 1
    assert all(pair.distance == 0 for pair in found.person)


def test_a_mouth_that_only_trembles_is_not_alike():
    noise = {
        (person, said): persons.lip_motion(track_of(person, *curves(100 + 7 * k + number)))
        for k, person in enumerate(PEOPLE)
        for number, said in enumerate(SENTENCES)
    }
    found = persons.compare(noise)
    assert not found.apart and 0.7 < found.ratio < 1.4


def test_another_strength_is_a_distance(motions):
    weak = lips("ben", "first", strength=0.5)
    pair = persons.compare_pair(motions["anna", "first"], weak)
    alike = persons.compare_pair(motions["anna", "first"], motions["ben", "first"])
    assert pair.distance > 5 * alike.distance and pair.opening > 0.99


@pytest.mark.parametrize("left", [{"shift": 0.1}, {"skew": 0.3}])
def test_what_a_turned_head_leaves_is_no_motion_of_the_lips(left):
    opening, width = curves(1)
    one, other = (persons.lip_motion(track_of("ben", opening, width, **how)) for how in ({}, left))
    pair = persons.compare_pair(one, other)
    assert pair.distance < 0.02 and pair.opening > 0.9999


def test_frames_without_a_face_do_not_count(motions):
    track = track_of("anna", *curves(1))
    broken = track.landmarks.copy()
    broken[20:30] = 0
    valid = track.valid.copy()
    valid[20:30] = False
    found = persons.lip_motion(dataclasses.replace(track, landmarks=broken, valid=valid))
    pair = persons.compare_pair(found, motions["ben", "first"])
    assert pair.distance < 1 and pair.opening > 0.99
    nowhere = dataclasses.replace(track, valid=np.zeros(60, bool))
    with pytest.raises(FaceError, match=r"no frame shows a face .*; leave the video out"):
        persons.lip_motion(nowhere)
    hidden = dataclasses.replace(found, valid=~found.valid)
    with pytest.raises(TalkfaceError, match="no face in a common frame; leave one of them out"):
        persons.compare_pair(found, hidden)


def test_the_longer_video_is_cut(motions):
    whole = motions["anna", "first"]
    short = persons.LipMotion(whole.lips[:40], whole.valid[:40])
    assert persons.compare_pair(whole, short).distance == 0


@pytest.mark.parametrize(
    "keys",
    [
        [("anna", "first"), ("ben", "second")],
        [("anna", "first"), ("ben", "first")],
        [("anna", "first"), ("anna", "second")],
    ],
)
def test_a_comparison_needs_its_control(motions, keys):
    with pytest.raises(TalkfaceError, match="2 videos do not hold two people who say one sentence"):
        persons.compare({key: motions[key] for key in keys})
