import numpy as np

from talkface_jax.data import transforms
from talkface_jax.landmarks.schemes import get_scheme

SCHEME = get_scheme("iplap131")


def rng(seed=0):
    return np.random.default_rng(seed)


def test_references_come_from_outside_the_window():
    valid = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1], bool)
    outside = transforms.frames_outside(valid, start=1, window=5)
    np.testing.assert_array_equal(np.flatnonzero(outside), [0, 7, 8])
    assert set(transforms.draw_references(rng(), outside, 3)) == {0, 7, 8}
    assert set(transforms.draw_references(rng(), outside, 15)) <= {0, 7, 8}


def test_a_segment_that_is_all_window_refers_to_itself():
    valid = np.ones(5, bool)
    np.testing.assert_array_equal(transforms.frames_outside(valid, start=0, window=5), valid)


def test_jitter_scales_about_the_centre_and_shifts():
    points = rng(1).uniform(size=(4, 131, 2)).astype(np.float32)
    jitter = transforms.PointJitter(
        False, np.array([1.1, 0.9], np.float32), np.array([0.02, -0.03], np.float32)
    )
    np.testing.assert_allclose(
        jitter(points, SCHEME), (points - 0.5) * [1.1, 0.9] + 0.5 + [0.02, -0.03], atol=1e-6
    )
    assert jitter(points, SCHEME).dtype == np.float32


def test_mirroring_swaps_sides():
    points = rng(2).uniform(size=(131, 2)).astype(np.float32)
    same = np.array([1, 1], np.float32), np.array([0, 0], np.float32)
    mirrored = transforms.PointJitter(True, *same)(points, SCHEME)
    np.testing.assert_allclose(mirrored, SCHEME.mirror(points), atol=1e-6)


def test_drawn_jitter_stays_in_range():
    drawn = [transforms.draw_jitter(rng(k), mirror=0.5, scale=0.07, shift=0.04) for k in range(200)]
    scales = np.stack([jitter.scale for jitter in drawn])
    shifts = np.stack([jitter.shift for jitter in drawn])
    assert 0.93 <= scales.min() < 0.94 and 1.06 < scales.max() <= 1.07
    assert -0.04 <= shifts.min() < -0.035 and 0.035 < shifts.max() <= 0.04
    assert 70 < sum(jitter.mirrored for jitter in drawn) < 130
    none = transforms.draw_jitter(rng(), mirror=0.0, scale=0.0, shift=0.0)
    assert not none.mirrored and (none.scale == 1).all() and (none.shift == 0).all()


def test_mel_noise_has_its_deviation_and_stays_in_range():
    mel = np.zeros((200, 80, 16), np.float32)
    noise = transforms.noisy_mel(rng(), mel, 0.1)
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise.std(), 0.1, rtol=0.02)
    assert abs(noise.mean()) <= 0.3
    loud = transforms.noisy_mel(rng(), mel + 4, 1.0)
    assert loud.max() <= 4
