"""Disturbances of speech, each by what it does to power, spectrum and length."""

import numpy as np
import pytest

from talkface_jax.methods.speech import noises


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_power_that_was_asked_for(rng, snr):
    tone = np.sin(np.arange(16000, dtype=np.float32) * 0.2)
    tone[8000:] = 0
    for _ in range(8):
        added = noises.add_noise(rng, tone, snr) - tone
        ratio = 10 * np.log10(np.mean(tone[:8000] ** 2) / np.mean(added**2))
        assert ratio == pytest.approx(snr, abs=0.1)


def test_silence_gets_no_noise(rng):
    silence = np.zeros(1000, np.float32)
    np.testing.assert_array_equal(noises.add_noise(rng, silence, 10.0), silence)


def test_pink_noise_falls_by_3_db_an_octave(rng):
    spectrum = np.abs(np.fft.rfft(noises.pink(rng, np.zeros(2**16, np.float32)))) ** 2
    low, high = spectrum[1000:2000].mean(), spectrum[8000:16000].mean()
    assert 10 * np.log10(low / high) == pytest.approx(9.0, abs=0.7)


def test_echo_follows_and_keeps_the_direct_sound(rng):
    click = np.zeros(16000, np.float32)
    click[4000] = 1.0
    wet = noises.echo(rng, click)
    assert wet[4000] == pytest.approx(1.0, abs=1e-4)
    assert np.abs(wet[:4000]).max() < 1e-4
    tail = np.sum(wet[4001:] ** 2)
    assert 10 ** (-1.55) < tail < 10 ** (-0.25)


def test_low_pass_halves_the_power_at_its_frequency():
    time = np.arange(16000) / 16000
    for hertz, kept in ((500, 1.0), (2000, 0.5), (6000, 0.0)):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        power = np.mean(noises.low_pass(tone, 2000.0) ** 2) / 0.5
        assert power == pytest.approx(kept, abs=0.01)


def test_resample_scales_frequencies():
    tone = np.sin(2 * np.pi * 400 * np.arange(16000) / 16000).astype(np.float32)
    fast = noises.resample(tone, 1.25)
    assert len(fast) == 12800
    assert np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast) == pytest.approx(500, abs=2)
