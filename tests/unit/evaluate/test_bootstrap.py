import numpy as np
import pytest

from talkface_jax.evaluate import bootstrap


def test_interval_of_a_mean_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap.bootstrap(rng.normal(3, 2, 30), resamples=400)
        hits += interval.low <= 3 <= interval.high
    assert 0.88 <= hits / 200 <= 0.98


def test_interval_is_the_normal_one_for_many_clips():
    values = np.random.default_rng(1).normal(size=400)
    interval = bootstrap.bootstrap(values)
    error = values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    assert interval == bootstrap.bootstrap(values), "the seed fixes it"
    assert interval != bootstrap.bootstrap(values, seed=1)


def test_median_and_missing_values():
    interval = bootstrap.bootstrap(
        np.array([1.0, 2.0, np.nan, 30.0]), statistic=bootstrap.median, resamples=50
    )
    assert (interval.value, interval.n) == (2.0, 3)
    assert 1 <= interval.low <= interval.high <= 30
    nothing = bootstrap.bootstrap(np.array([np.nan]))
    assert nothing.n == 0
    assert np.isnan(nothing.value)


def test_paired_ratio_is_much_narrower_than_the_spread_of_clips():
    rng = np.random.default_rng(2)
    hard = rng.uniform(1, 10, 40)
    easy = 0.5 * hard * rng.normal(1, 0.02, 40)
    ratio = bootstrap.bootstrap_ratio(easy, hard)
    assert ratio.value == pytest.approx(easy.mean() / hard.mean())
    assert ratio.low < 0.5 < ratio.high
    assert ratio.high - ratio.low < 0.02
    unpaired = bootstrap.bootstrap(easy)
    assert (unpaired.high - unpaired.low) / unpaired.value > 0.2


def test_a_ratio_to_zero_is_no_number():
    assert np.isnan(bootstrap.bootstrap_ratio(np.ones(3), np.zeros(3)).value)


def test_curve_statistic_is_that_of_the_mean_curve():
    curves = np.array([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    peak = bootstrap.bootstrap_curve(curves, statistic=lambda c: float(np.argmax(c)), resamples=200)
    assert (peak.value, peak.n) == (1.0, 3)
    assert peak.low == 0.0, "some resamples draw the second clip most"
    one_short = np.concatenate([curves, [[np.nan, 0.0, 9.0]]])
    assert bootstrap.bootstrap_curve(one_short, statistic=np.argmax, resamples=9).n == 3


def test_overlap():
    a = bootstrap.Interval(1, 0, 2, 5)
    assert a.overlaps(bootstrap.Interval(3, 2, 4, 5))
    assert not a.overlaps(bootstrap.Interval(3, 2.1, 4, 5))
