"""Statistics of blinks, and distances of sets of them against loops over pairs."""

import numpy as np
import pytest

from talkface_jax.metrics import blink

PULSE = np.array([0.3, 1.1, 1.2, 1.2, 0.9, 0.3])


def curve_of(starts, frames=100):
    curve = np.zeros(frames)
    for start in starts:
        shown = PULSE[: frames - start]
        curve[start : start + len(shown)] = shown
    return curve


def energy(x, y):
    mean = lambda a, b: np.mean([[abs(i - j) for j in b] for i in a])  # noqa: E731
    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def test_a_clip_is_measured_in_seconds():
    clip = blink.measure(curve_of([10, 60, 97]))
    assert (clip.frames, clip.count) == (100, 3)
    # From 1/3 of a frame before each start... to 1/3 of one after the end; the last is cut off.
    np.testing.assert_allclose(clip.durations, [(5 + 2 / 3) / 25] * 2)
    np.testing.assert_allclose(clip.intervals, [2.0, 37 / 25])


def test_statistics_are_over_all_clips_together():
    clips = [blink.measure(curve_of(starts)) for starts in ([10, 60], [40], [])]
    found = blink.summarise(clips)
    assert (found.clips, found.blinks, found.seconds) == (3, 3, 12.0)
    assert found.rate == pytest.approx(0.25)
    assert found.interval == pytest.approx(2.0) and found.interval_deviation == 0
    empty = blink.summarise([])
    assert np.isnan([empty.rate, empty.duration, empty.interval]).all()


def test_distances_are_energy_distances():
    rng = np.random.default_rng(0)
    sets = [
        [
            blink.ClipBlinks(
                100, int(rng.integers(0, 4)), rng.gamma(9, 0.02, k), rng.gamma(9, m, k)
            )
            for k in range(4)
        ]
        for m in (0.2, 0.4)
    ]
    found = blink.distance(*sets)
    for name, value in (("durations", found.durations), ("intervals", found.intervals)):
        one, other = (np.concatenate([getattr(c, name) for c in clips]) for clips in sets)
        assert value == pytest.approx(energy(one, other), abs=1e-9)
    counts = [[clip.count for clip in clips] for clips in sets]
    assert found.counts == pytest.approx(energy(*counts), abs=1e-9)
    assert found.total == pytest.approx(found.counts + found.intervals + found.durations)
    assert blink.distance(sets[0], sets[0]).total == pytest.approx(0, abs=1e-12)


def test_weights_repeat_clips():
    one = [blink.measure(curve_of(s)) for s in ([10, 60], [40])]
    other = [blink.measure(curve_of(s)) for s in ([5, 90], [20, 50], [])]
    measure = blink.BlinkDistances([*one, *other])
    weighted = measure(np.array([2.0, 1, 0, 0, 0]), np.array([0.0, 0, 1, 0, 3]))
    repeated = blink.distance([one[0], *one], [other[0], *[other[2]] * 3])
    assert weighted.total == pytest.approx(repeated.total)


def test_a_set_without_blinks_is_far_by_its_counts():
    some = [blink.measure(curve_of([10, 60]))] * 3
    none = [blink.measure(curve_of([]))] * 3
    found = blink.distance(some, none)
    assert (found.intervals, found.durations) == (0.0, 0.0)
    assert found.counts == pytest.approx(4.0)
