import itertools

import numpy as np
import pytest

from talkface_jax.landmarks import schemes
from talkface_jax.metrics import alignment


@pytest.fixture
def curve():
    return np.convolve(np.random.default_rng(1).normal(size=82), np.ones(3) / 3, "valid")


def everywhere(curve):
    return np.ones(len(curve), bool)


def late(curve, frames):
    """The curve, late by so many frames, its first value held."""
    index = np.clip(np.arange(len(curve)) - frames, 0, len(curve) - 1)
    return curve[index]


def distance(pred, truth, index):
    return np.abs(pred[index] - truth).mean()


def test_equal_sequences_stay_where_they_are(curve):
    for sequence in (curve, np.zeros(30), np.repeat(curve, 4)):
        index = alignment.align_in_time(sequence, sequence, valid=everywhere(sequence))
        np.testing.assert_array_equal(index, np.arange(len(sequence)))


@pytest.mark.parametrize("shift", [-3, -2, -1, 1, 2, 3])
def test_a_constant_shift_within_the_band_is_undone_but_for_the_ends(curve, shift):
    index = alignment.align_in_time(late(curve, shift), curve, valid=everywhere(curve))
    inner = slice(6, -6)
    np.testing.assert_array_equal(index[inner], np.arange(len(curve))[inner] + shift)


def test_a_shift_beyond_the_band_is_not_undone(curve):
    pred = late(curve, 10)
    index = alignment.align_in_time(pred, curve, valid=everywhere(curve))
    assert distance(pred, curve, index) > 0.4 * distance(pred, curve, np.arange(len(curve)))
    near = late(curve, 3)
    index = alignment.align_in_time(near, curve, valid=everywhere(curve))
    assert distance(near, curve, index) < 0.1 * distance(near, curve, np.arange(len(curve)))


@pytest.mark.parametrize("seed", range(6))
def test_rules_of_the_way_hold_for_any_sequence(seed):
    rng = np.random.default_rng(seed)
    pred, truth = rng.normal(size=(2, 60))
    valid = rng.random(60) < 0.7
    pred[~valid] = np.nan
    index = alignment.align_in_time(pred, truth, valid=valid)
    frames = np.flatnonzero(valid)
    taken = index[frames]
    assert valid[taken].all()
    assert (np.diff(taken) >= 0).all()
    assert np.abs(taken - frames).max() <= alignment.MAX_SHIFT
    np.testing.assert_array_equal(index[~valid], np.flatnonzero(~valid))
    # Noise against noise gains much, but never loses.
    gain = np.abs(pred[taken] - truth[frames]).sum() / np.abs(pred - truth)[valid].sum()
    assert gain < 0.9
    np.testing.assert_array_equal(alignment.align_in_time(pred, truth, valid=valid), index)


def test_the_way_is_the_best_of_all():
    """Against every way there is, in a small case with a hole."""
    rng = np.random.default_rng(3)
    pred, truth = rng.normal(size=(2, 7))
    valid = np.array([True, True, False, True, True, True, True])
    frames = np.flatnonzero(valid)
    ways = [
        way
        for way in itertools.product(*([j for j in frames if abs(j - t) <= 2] for t in frames))
        if all(a <= b for a, b in itertools.pairwise(way))
    ]
    sums = [np.abs(pred[list(way)] - truth[frames]).sum() for way in ways]
    index = alignment.align_in_time(pred, truth, valid=valid, max_shift=2)
    np.testing.assert_array_equal(index[frames], ways[int(np.argmin(sums))])


def test_no_shift_allowed_is_the_frame_wise_comparison(curve):
    index = alignment.align_in_time(late(curve, 2), curve, valid=everywhere(curve), max_shift=0)
    np.testing.assert_array_equal(index, np.arange(len(curve)))


def test_nothing_valid_and_bad_input(curve):
    none = np.zeros(len(curve), bool)
    np.testing.assert_array_equal(
        alignment.align_in_time(curve, curve, valid=none), np.arange(len(curve))
    )
    with pytest.raises(ValueError, match="one length, not 80, 79 and 80"):
        alignment.align_in_time(curve, curve[:-1], valid=everywhere(curve))
    bad = np.where(np.arange(80) == 7, np.nan, curve)
    with pytest.raises(ValueError, match="at valid frame 7 is not a number; mark"):
        alignment.align_in_time(bad, curve, valid=everywhere(curve))


@pytest.fixture
def talking(curve):
    """A head (t, 131, 2) of 200 px that turns and moves while its lips open and close."""
    scheme = schemes.get_scheme("iplap131")
    rng = np.random.default_rng(5)
    still = rng.uniform(0, 200, (131, 2))
    for mesh, place in ((33, (50, 80)), (263, (150, 80))):
        still[scheme.position(mesh)] = place
    lips = scheme.groups["lips"]

    def head(opening, angle, move):
        points = np.repeat(still[None], len(opening), 0)
        points[:, lips, 1] += 10 * opening[:, None] * np.linspace(-1, 1, len(lips))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return points @ np.moveaxis(turn, -1, 0) + move[:, None]

    t = np.arange(len(curve))
    return lambda shift: head(
        late(curve, shift), 0.2 * np.sin(t / 9), np.stack([3.0 * t, 30 * np.sin(t / 5)], -1)
    )


def test_lips_are_compared_on_one_head(talking, curve):
    """The head moves on between the frames; only the mouth is late."""
    valid = everywhere(curve)
    valid[20:24] = False
    found = alignment.lip_distances(talking(2), talking(0), valid=valid)
    assert found.frame_wise > 1
    assert found.aligned < 0.15 * found.frame_wise
    assert found.shift == pytest.approx(2, abs=0.3)
    early = alignment.lip_distances(talking(0), talking(2), valid=valid)
    assert early.shift == pytest.approx(-2, abs=0.3)
    same = alignment.lip_distances(talking(0), talking(0), valid=valid)
    assert same.frame_wise == pytest.approx(0, abs=1e-9) and same.shift == 0
    nothing = alignment.lip_distances(talking(0), talking(0), valid=np.zeros(80, bool))
    assert np.isnan([nothing.frame_wise, nothing.aligned, nothing.shift]).all()


def test_alignment_never_makes_a_lip_distance_worse(talking, curve):
    rng = np.random.default_rng(0)
    noisy = talking(0) + rng.normal(scale=4, size=(80, 131, 2))
    for pred in (noisy, talking(5), talking(-10)):
        found = alignment.lip_distances(pred, talking(0), valid=everywhere(curve))
        assert found.aligned <= found.frame_wise
