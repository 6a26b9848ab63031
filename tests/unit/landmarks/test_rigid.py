"""Motion of the head in 3-D: found, undone, and put onto another face with what the face does."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from talkface_jax.landmarks import rigid
from talkface_jax.landmarks.rigid import Similarity

BONE = np.arange(8)
"""Points of the made-up face that follow the head alone; the others are its mouth."""
MOUTH = np.arange(8, 14)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def similarities(rng, frames, *, degrees=40.0):
    """Random ones, of up to so many degrees."""
    axes = rng.normal(size=(frames, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    turns = Rotation.from_rotvec(axes * np.deg2rad(rng.uniform(5, degrees, (frames, 1))))
    return Similarity(rng.uniform(0.5, 2, frames), turns.as_matrix(), rng.normal(size=(frames, 3)))


def still_then(maps):
    """The maps, in the first frame the identity."""
    scale, rotation, shift = (x.copy() for x in (maps.scale, maps.rotation, maps.shift))
    scale[0], rotation[0], shift[0] = 1, np.eye(3), 0
    return Similarity(scale, rotation, shift)


def faces(rng):
    """A face and another person's, of one skeleton up to a similarity but with another mouth; and
    that similarity."""
    driver = rng.normal(size=(14, 3))
    onto = similarities(rng, 1)
    picture = onto(driver[None])[0]
    picture[MOUTH] += rng.normal(scale=0.3, size=(len(MOUTH), 3))
    return driver, picture, onto


def talk(rng, frames):
    """What the mouth does in the head's own coordinates, nothing in the first frame."""
    moved = np.zeros((frames, 14, 3))
    moved[1:, MOUTH] = rng.normal(scale=0.2, size=(frames - 1, len(MOUTH), 3))
    return moved


def transfer(picture, driver, *, reference=0):
    return rigid.transfer(picture, driver, reference=reference, rigid=BONE)


def test_a_similarity_moves_points_by_its_definition(rng):
    maps, points = similarities(rng, 3), rng.normal(size=(3, 5, 3))
    found = maps(points)
    for t in range(3):
        for n in range(5):
            expected = maps.scale[t] * maps.rotation[t] @ points[t, n] + maps.shift[t]
            np.testing.assert_allclose(found[t, n], expected)
    # One set of points under all maps, and one map of all sets.
    np.testing.assert_allclose(maps(points[:1])[2], maps(np.repeat(points[:1], 3, 0))[2])
    one = similarities(rng, 1)
    np.testing.assert_allclose(one(points)[1], one(points[1:2])[0])


def test_the_inverse_brings_points_back(rng):
    maps, points = similarities(rng, 4), rng.normal(size=(4, 6, 3))
    np.testing.assert_allclose(maps.inverse()(maps(points)), points, atol=1e-12)
    np.testing.assert_allclose(maps(maps.inverse()(points)), points, atol=1e-12)


@pytest.mark.parametrize("sources", [1, 5])
def test_a_fit_recovers_the_similarities_of_all_frames(rng, sources):
    maps, points = similarities(rng, 5, degrees=175), rng.normal(size=(sources, 9, 3))
    found = rigid.fit_similarity(points, maps(points))
    np.testing.assert_allclose(found.scale, maps.scale)
    np.testing.assert_allclose(found.rotation, maps.rotation, atol=1e-12)
    np.testing.assert_allclose(found.shift, maps.shift, atol=1e-12)


def test_a_fit_never_mirrors(rng):
    points = rng.normal(size=(3, 9, 3))
    found = rigid.fit_similarity(points, points * [-1, 1, 1])
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1)
    assert (found.scale > 0).all()
    products = found.rotation @ found.rotation.swapaxes(1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)


def test_flat_points_have_a_pose_too(rng):
    """All in one plane, where a mirror image fits as well."""
    maps, points = similarities(rng, 4), rng.normal(size=(4, 9, 3)) * [1, 1, 0]
    found = rigid.fit_similarity(points, maps(points))
    np.testing.assert_allclose(found.rotation, maps.rotation, atol=1e-9)


def test_a_fit_is_the_best_of_its_kind(rng):
    source, target = rng.normal(size=(2, 1, 12, 3))
    best = rigid.fit_similarity(source, target)

    def error(maps):
        return np.sum(np.square(maps(source) - target))

    for _ in range(50):
        turn = Rotation.from_rotvec(rng.normal(scale=0.03, size=3)).as_matrix()
        other = Similarity(
            best.scale + rng.normal(scale=0.03),
            turn @ best.rotation,
            best.shift + rng.normal(scale=0.03, size=3),
        )
        assert error(other) > error(best)


def test_points_that_are_all_one_have_no_pose(rng):
    with pytest.raises(ValueError, match="no pose"):
        rigid.fit_similarity(np.ones((1, 5, 3)), rng.normal(size=(1, 5, 3)))


def test_the_drivers_own_picture_gives_the_driver(rng):
    base, _, _ = faces(rng)
    driver = similarities(rng, 6)(base + talk(rng, 6))
    for reference in (0, 3):
        found = transfer(driver[reference], driver, reference=reference)
        np.testing.assert_allclose(found, driver, atol=1e-9)


def test_a_similar_picture_gives_the_similar_driver(rng):
    base, _, onto = faces(rng)
    driver = similarities(rng, 6)(base + talk(rng, 6))
    found = transfer(onto(driver[2:3])[0], driver, reference=2)
    np.testing.assert_allclose(found, onto(driver), atol=1e-9)


def test_the_picture_comes_back_at_the_reference(rng):
    """A face of another build, whose bones fit the driver's only roughly."""
    base, picture, _ = faces(rng)
    picture = picture + rng.normal(scale=0.2, size=picture.shape)
    driver = similarities(rng, 6)(base + talk(rng, 6))
    for reference in (0, 4):
        found = transfer(picture, driver, reference=reference)
        np.testing.assert_allclose(found[reference], picture, atol=1e-9)
        assert np.abs(found[1] - picture).max() > 0.1


def test_head_and_face_are_told_apart_where_both_move(rng):
    base, picture, onto = faces(rng)
    heads, spoken = still_then(similarities(rng, 5)), talk(rng, 5)
    found = transfer(picture, heads(base + spoken))
    # The picture as the driver's head would hold it, in its own coordinates.
    own = onto.inverse()(picture[None]) + spoken
    np.testing.assert_allclose(found, onto(heads(own)), atol=1e-9)
    # Without the head's motion the mouth moves alike; without the mouth's the head does.
    silent, mute = transfer(picture, base + spoken), transfer(picture, heads(base[None]))
    np.testing.assert_allclose(
        silent[:, BONE], np.broadcast_to(picture[BONE], (5, 8, 3)), atol=1e-9
    )
    expected = picture + spoken @ onto.rotation[0].T * onto.scale[0]
    np.testing.assert_allclose(silent, expected, atol=1e-9)
    np.testing.assert_allclose(mute[:, BONE], found[:, BONE], atol=1e-9)


def test_a_face_that_smiles_already_does_not_smile_twice(rng):
    base, neutral, onto = faces(rng)
    smile = np.zeros((14, 3))
    smile[MOUTH] = rng.normal(scale=0.3, size=(len(MOUTH), 3))
    smiling = neutral + smile @ onto.rotation[0].T * onto.scale[0]
    heads = still_then(similarities(rng, 4))
    kept = transfer(smiling, heads(base + smile[None]))
    turned = onto(heads(onto.inverse()(smiling[None])))
    np.testing.assert_allclose(kept, turned, atol=1e-9)
    # Where the driver stops smiling, so does the picture.
    amounts = np.array([1, 1, 0.5, 0])[:, None, None]
    ended = transfer(smiling, base + amounts * smile)
    np.testing.assert_allclose(ended[1], smiling, atol=1e-9)
    np.testing.assert_allclose(ended[3], neutral, atol=1e-9)
