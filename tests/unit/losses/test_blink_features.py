"""The numbers that stand for frequency, duration and interval of blinks."""

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.losses import blink_features as features

PULSE = np.array([0.3, 1.1, 1.2, 1.2, 0.9, 0.3])


def curve_of(starts, frames=75):
    curve = np.zeros(frames, np.float32)
    for start in starts:
        curve[start : start + len(PULSE)] = PULSE
    return curve


def closed(curve):
    return 1 / (1 + np.exp(-(np.asarray(curve, np.float64) - 0.45) / 0.08))


def test_open_eyes_with_noise_count_as_open():
    noise = np.random.default_rng(0).normal(0, 0.04, (4, 75)).astype(np.float32)
    assert float(features.onsets(noise).max()) < 0.1
    assert float(features.pauses(noise).max()) < 0.05


def test_counts_tell_number_and_length():
    curves = jnp.asarray([curve_of(s) for s in ([], [30], [5, 60], [30, 36])])
    np.testing.assert_allclose(features.onsets(curves), [0, 1, 2, 2], atol=0.2)
    frames, onsets = np.asarray(features.counts(curves)).T
    np.testing.assert_allclose(frames, closed(curves).sum(1) / 3, rtol=1e-4)
    np.testing.assert_allclose(onsets, features.onsets(curves) / 0.5, rtol=1e-6)


def test_lagged_products_are_sums_over_time():
    rng = np.random.default_rng(1)
    curves = rng.uniform(0, 1, (3, 40)).astype(np.float32)
    smooth = np.asarray(features.smoothed(closed(curves).astype(np.float32), deviation=1.5))
    frames = smooth.shape[1]
    expected = np.array(
        [[(row[: frames - lag] * row[lag:]).sum() for lag in range(frames)] for row in smooth]
    )
    expected[:, 10:] *= 3
    np.testing.assert_allclose(features.lagged_products(curves), expected, rtol=1e-4, atol=1e-4)


def test_lagged_products_peak_at_the_interval_wherever_it_lies():
    early, late = (
        features.lagged_products(jnp.asarray([curve_of(s)]))[0] for s in ([8, 48], [20, 60])
    )
    assert 10 + int(jnp.argmax(early[10:])) == 40
    np.testing.assert_allclose(early, late, atol=0.05)


def test_smoothing_is_a_gaussian_where_it_fits():
    impulse = np.zeros((1, 41), np.float32)
    impulse[0, 20] = 1
    found = np.asarray(features.smoothed(impulse, deviation=2.0))[0]
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
    np.testing.assert_allclose(found[8:21], kernel / kernel.sum(), rtol=1e-5)
    np.testing.assert_allclose(features.smoothed(np.ones((1, 30)), deviation=3.0), 1, rtol=1e-5)


def test_pauses_are_what_no_stretch_covers():
    curves = np.stack([curve_of([30]), curve_of([]), curve_of([0, 40])])
    shut = closed(curves)
    found = np.asarray(features.pauses(jnp.asarray(curves)))
    for column, length in enumerate((12, 25, 37, 50, 62)):
        stretches = [shut[:, i : i + length].max(1) for i in range(75 - length + 1)]
        np.testing.assert_allclose(found[:, column], np.mean(stretches, 0), rtol=1e-4)
    np.testing.assert_allclose(found[:, -1], shut.max(1), rtol=1e-4)
    assert features.pauses(jnp.asarray(curves[:, :30])).shape == (3, 3)


def test_patches_are_stretches_of_the_curve():
    curves = np.arange(150, dtype=np.float32).reshape(2, 75)
    found = np.asarray(features.patches(jnp.asarray(curves)))
    assert found.shape == (2 * 3, 13)
    assert sorted(found[:, 0].tolist()) == [0, 24, 48, 75, 99, 123]
    np.testing.assert_array_equal(np.diff(found, axis=1), 1)


def test_shape_is_the_mean_displacement_of_closed_frames():
    rng = np.random.default_rng(2)
    curve = np.stack([curve_of([20, 50]), curve_of([])])
    track = rng.normal(size=(2, 75, 22, 2)).astype(np.float32)
    shut = closed(curve)
    expected = np.einsum("bt,btpd->bpd", shut, track) / (1 + shut.sum(1))[:, None, None]
    found = features.shape(jnp.asarray(track), jnp.asarray(curve))
    np.testing.assert_allclose(found, expected.reshape(2, 44), rtol=1e-4, atol=1e-5)


def test_only_what_leaves_the_real_range_is_charged():
    rng = np.random.default_rng(3)
    real = rng.uniform(-1, 1, (4, 10, 22, 2)).astype(np.float32)
    made = 0.5 * real
    np.testing.assert_array_equal(features.out_of_range(made, real), np.zeros(4))
    low, high = real.min((0, 1)), real.max((0, 1))
    made[1, 3, 5, 0] = high[5, 0] + 0.5
    made[2, 0, 7, 1] = low[7, 1] - 1.0
    found = np.asarray(features.out_of_range(jnp.asarray(made), jnp.asarray(real)))
    count = 10 * 22 * 2
    span = high - low
    expected = [0, (0.5 / span[5, 0]) ** 2 / count, (1 / span[7, 1]) ** 2 / count, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_every_feature_passes_finite_gradients():
    curves = jnp.asarray([curve_of([20, 60]), 0.3 + 0 * curve_of([])])
    functions = (
        features.positions,
        features.patches,
        features.lagged_products,
        features.counts,
        features.pauses,
    )
    slopes = jax.jit(
        lambda c: [jax.grad(lambda c, f=f: jnp.sum(jnp.sin(f(c))))(c) for f in functions]
    )(curves)
    for slope in slopes:
        assert jnp.all(jnp.isfinite(slope)) and jnp.all(jnp.any(slope, axis=1))
