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


def _cast(rng, *, people, clips, between=1.0, within=0.3):
    """Clips of people who differ: values and who speaks in each."""
    own = rng.normal(scale=between, size=people)
    values = own[:, None] + rng.normal(scale=within, size=(people, clips))
    return values.ravel(), [f"p{p:02}" for p in range(people) for _ in range(clips)]


def _width(interval):
    return interval.high - interval.low


def test_interval_of_alike_clips_covers_the_mean_of_new_speakers_and_that_of_clips_does_not():
    rng = np.random.default_rng(3)
    hits = np.zeros(2)
    for _ in range(150):
        values, speakers = _cast(rng, people=25, clips=6)
        for way, named in enumerate((speakers, None)):
            interval = bootstrap.bootstrap(values, speakers=named, resamples=300)
            hits[way] += interval.low <= 0 <= interval.high
    by_speaker, by_clip = hits / 150
    assert 0.86 <= by_speaker <= 0.99
    assert by_clip < 0.7


def test_alike_clips_of_a_speaker_widen_every_interval():
    rng = np.random.default_rng(4)
    values, speakers = _cast(rng, people=12, clips=8)
    other = 2 + 0 * values
    curves = np.stack([values, np.zeros_like(values)], -1)

    def widths(named):
        return [
            _width(bootstrap.bootstrap(values, speakers=named)),
            _width(bootstrap.bootstrap(values, speakers=named, statistic=bootstrap.median)),
            _width(bootstrap.bootstrap_curve(curves, statistic=lambda c: c[0], speakers=named)),
            _width(bootstrap.bootstrap_ratio(values, other, speakers=named)),
            _width(bootstrap.bootstrap_difference(values, other, speakers=named)),
        ]

    assert np.all(np.divide(widths(speakers), widths(None)) > 1.8)


def test_a_speaker_counts_by_the_clips_drawn_of_it():
    values = np.array([0.0] * 9 + [1.0])
    interval = bootstrap.bootstrap(values, speakers=["a"] * 9 + ["b"])
    assert (interval.value, interval.n) == (pytest.approx(0.1), 10)
    assert (interval.low, interval.high) == (0, 1), "only a drawn, only b drawn"
    one = bootstrap.bootstrap(values, speakers=["a"] * 10)
    assert 0 <= one.low < one.value < one.high < 0.5, "one speaker: its clips are drawn still"


def test_one_clip_a_speaker_is_the_bootstrap_of_clips():
    values = np.sort(np.random.default_rng(5).normal(size=30))
    alone = bootstrap.bootstrap(values)
    assert bootstrap.bootstrap(values, speakers=[f"{i:02}" for i in range(30)]) == alone
    assert bootstrap.bootstrap(values, speakers=[""] * 30) == alone, "nobody known: all strangers"


def test_intervals_do_not_depend_on_the_order_of_the_clips():
    rng = np.random.default_rng(6)
    values, speakers = _cast(rng, people=5, clips=4)
    speakers[3] = speakers[11] = ""
    curves = rng.normal(size=(20, 3))
    order = rng.permutation(20)
    shuffled = [speakers[i] for i in order]

    def peak(curve):
        return float(np.argmax(curve))

    for first, second in (
        (
            bootstrap.bootstrap(values, speakers=speakers),
            bootstrap.bootstrap(values[order], speakers=shuffled),
        ),
        (
            bootstrap.bootstrap_ratio(values, curves[:, 0] + 9, speakers=speakers),
            bootstrap.bootstrap_ratio(values[order], curves[order, 0] + 9, speakers=shuffled),
        ),
        (
            bootstrap.bootstrap_difference(values, curves[:, 0], speakers=speakers),
            bootstrap.bootstrap_difference(values[order], curves[order, 0], speakers=shuffled),
        ),
        (
            bootstrap.bootstrap_curve(curves, statistic=peak, speakers=speakers),
            bootstrap.bootstrap_curve(curves[order], statistic=peak, speakers=shuffled),
        ),
    ):
        assert first == second


def test_a_speaker_without_a_clip_that_counts_vanishes():
    values, speakers = _cast(np.random.default_rng(7), people=4, clips=3)
    gone = np.concatenate([values, [np.nan, np.nan]])
    interval = bootstrap.bootstrap(gone, speakers=[*speakers, "lost", "p00"])
    assert interval == bootstrap.bootstrap(values, speakers=speakers)


def test_difference_is_paired_and_leaves_out_endless_ones():
    rng = np.random.default_rng(8)
    hard = rng.uniform(20, 40, 30)
    better = hard + rng.normal(1.5, 0.1, 30)
    difference = bootstrap.bootstrap_difference(better, hard)
    assert difference.value == pytest.approx((better - hard).mean())
    assert 1.4 < difference.low < 1.5 < difference.high < 1.6
    better[0], hard[0], hard[1] = np.inf, np.inf, np.nan
    assert bootstrap.bootstrap_difference(better, hard).n == 28


def test_speakers_of_other_clips_are_refused():
    with pytest.raises(ValueError, match="speakers names 2 clips, of 3"):
        bootstrap.bootstrap(np.ones(3), speakers=["a", "b"])
    with pytest.raises(ValueError, match="speakers names 2 clips, of 3"):
        bootstrap.bootstrap_ratio(np.ones(3), np.ones(3), speakers=["a", "b"])


def test_counts_of_clips_are_those_of_the_speakers_drawn():
    speakers = ["a", "", "b", "a", ""]
    counts = bootstrap.draw_counts(speakers, resamples=4000)
    assert counts.shape == (4000, 5)
    # Speakers are a, b and two unknown ones: each is drawn once on average, with all its clips.
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.06)
    together = counts[:, 0] + counts[:, 3]
    assert set(np.unique(together)) <= {0, 2, 4, 6, 8}, "a's clips come by twos"
    assert np.array_equal(counts, bootstrap.draw_counts(speakers, resamples=4000))
