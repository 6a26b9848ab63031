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


def test_too_short_a_clip_has_no_value_at_long_lags(curve):
    values = sync.lag_curve(curve[:9], curve[:9], valid=np.ones(9, bool))
    assert np.isnan(values[[0, 1, 2, 3, -1]]).all()
    assert sync.best_lag(values) == 0
    assert np.isnan(sync.best_lag(np.zeros(21)))


def test_deviation_ratio(curve):
    assert sync.deviation_ratio(0.3 * curve + 5, curve) == pytest.approx(0.3)
    assert np.isnan(sync.deviation_ratio(curve, np.ones_like(curve)))
