import numpy as np
import pytest

from talkface_jax.metrics import sync


@pytest.fixture
def curve():
    rng = np.random.default_rng(1)
    return np.convolve(rng.normal(size=90), np.ones(3) / 3, "valid")


def test_correlation_is_pearsons(curve):
    other = curve + np.random.default_rng(2).normal(size=len(curve))
    a, b = curve - curve.mean(), other - other.mean()
    expected = (a @ b) / np.sqrt((a @ a) * (b @ b))
    assert sync.correlation(curve, other) == pytest.approx(expected)
    assert sync.correlation(curve, 3 - 2 * curve) == pytest.approx(-1)


def test_a_still_mouth_correlates_with_nothing(curve):
    assert sync.correlation(np.zeros_like(curve), curve) == 0


@pytest.mark.parametrize("late", [-7, -1, 0, 3, 10])
def test_lag_is_positive_where_the_prediction_is_late(curve, late):
    pred = np.roll(curve, late)
    valid = np.ones(len(curve), bool)
    values = sync.lag_curve(pred, curve, valid=valid)
    assert values.shape == (2 * sync.MAX_LAG + 1,)
    assert sync.best_lag(values) == late
    assert values[sync.MAX_LAG + late] == pytest.approx(1)


def test_invalid_frames_do_not_count(curve):
    pred, valid = np.roll(curve, 4), np.ones(len(curve), bool)
    valid[20:40] = False
    pred[20:40] = np.random.default_rng(3).normal(scale=100, size=20)
    values = sync.lag_curve(pred, curve, valid=valid)
    assert sync.best_lag(values) == 4
    assert values[sync.MAX_LAG + 4] == pytest.approx(1)


@pytest.mark.parametrize("late", [0, -4, 7])
def test_a_hole_of_faceless_frames_moves_no_lag(curve, late):
    valid = np.ones(len(curve), bool)
    valid[30:40] = False
    noise = np.random.default_rng(4).normal(scale=curve.std() / 10, size=len(curve))
    pred = np.where(valid, np.roll(curve, late) + noise, 1e3)
    values = sync.lag_curve(pred, curve, valid=valid)
    assert np.isfinite(values).all()
    assert sync.best_lag(values) == late


def test_a_hole_that_leaves_a_few_pairs_leaves_no_lag():
    """Thirty-six frames with a hole of ten, as in a clip whose tracker noise came "late by 10":
    of so long a lag six pairs remain, which lie on the mouth's slow way and correlate by chance."""
    rng = np.random.default_rng(0)
    truth = np.convolve(rng.normal(size=42), np.ones(7) / 7, "valid")
    valid = np.ones(len(truth), bool)
    valid[12:22] = False
    pred = truth + rng.normal(scale=0.02, size=len(truth))
    assert np.isnan(sync.lag_curve(pred, truth, valid=valid)).all()
    assert sync.best_lag(sync.lag_curve(pred, truth, valid=np.ones(36, bool))) == 0


def test_a_curve_is_complete_or_there_is_none(curve):
    """Else clips of different lengths would stand in different parts of a mean curve."""
    for frames in (9, 24, 34, 35, 60):
        whole = np.ones(frames, bool)
        values = sync.lag_curve(curve[:frames], curve[:frames], valid=whole)
        # The longest lag leaves ten pairs fewer than there are frames, and must leave 25.
        assert np.isfinite(values).all() == (frames >= 35)
        assert np.isnan(values).all() == (frames < 35)
    assert np.isnan(sync.best_lag(sync.lag_curve(curve[:9], curve[:9], valid=np.ones(9, bool))))
    assert np.isnan(sync.best_lag(np.zeros(21)))


def test_few_pairs_beside_many_count_for_nothing():
    rng = np.random.default_rng(1)
    truth, valid = rng.normal(size=120), np.ones(120, bool)
    valid[50:90:5] = False
    assert np.isfinite(sync.lag_curve(truth, truth, valid=valid)).all()
    valid = np.tile([True, False], 60)  # an odd lag pairs nothing
    assert np.isnan(sync.lag_curve(truth, truth, valid=valid)).all()


def test_offsets_and_scales_change_nothing(curve):
    pred, valid = np.roll(curve, 2), np.ones(len(curve), bool)
    values = sync.lag_curve(pred, curve, valid=valid)
    np.testing.assert_allclose(sync.lag_curve(3 * pred + 5, curve - 2, valid=valid), values)
    mirrored = sync.lag_curve(curve, pred, valid=valid)
    assert sync.best_lag(mirrored) == -2
    np.testing.assert_allclose(mirrored[::-1], values)


def test_deviation_ratio(curve):
    assert sync.deviation_ratio(0.3 * curve + 5, curve) == pytest.approx(0.3)
    assert np.isnan(sync.deviation_ratio(curve, np.ones_like(curve)))
