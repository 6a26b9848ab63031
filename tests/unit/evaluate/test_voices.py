"""The angry voice is higher, sharper and louder, and says everything when the recording does."""

import numpy as np
import pytest

from talkface_jax.evaluate import voices
from talkface_jax.records import AUDIO_RATE

TIMES = np.arange(2 * AUDIO_RATE) / AUDIO_RATE


def _spectrum(samples):
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return np.fft.rfftfreq(len(samples), 1 / AUDIO_RATE), power


def _voice(pitch=120.0):
    """Harmonics that fall off by 12 dB an octave."""
    return 0.1 * sum(np.sin(2 * np.pi * pitch * k * TIMES) / k**2 for k in range(1, 20))


@pytest.mark.parametrize("semitones", [-2.0, 3.0, 5.0])
def test_the_pitch_is_raised_and_the_length_stays(semitones):
    samples = 0.3 * np.sin(2 * np.pi * 200 * TIMES)
    made = voices.raised(samples, semitones=semitones)
    frequencies, power = _spectrum(made)
    assert frequencies[power.argmax()] == pytest.approx(200 * 2 ** (semitones / 12), abs=1)
    assert len(made) == len(samples)
    middle = slice(AUDIO_RATE // 2, -AUDIO_RATE // 2)
    assert np.std(made[middle]) == pytest.approx(np.std(samples[middle]), rel=0.05)


def test_every_burst_keeps_its_time():
    bursts = np.zeros_like(TIMES)
    starts = (0.2, 0.7, 1.1, 1.6)
    for start in starts:
        bursts += np.where((start <= TIMES) & (start + 0.1 > TIMES), _voice(), 0)
    made = voices.angry(bursts)
    loudness = np.sqrt(np.square(made).reshape(-1, 320).mean(1))  # 20 ms each
    loud = np.flatnonzero(np.diff((loudness > 0.3 * loudness.max()).astype(int)) == 1) + 1
    assert len(loud) == 4 and np.abs(loud / 50 - starts).max() < 0.03


def test_anger_is_higher_louder_and_sharper():
    samples = _voice()
    made = voices.angry(samples)
    assert made.dtype == np.float32 and made.shape == samples.shape
    gain = 20 * np.log10(np.std(made) / np.std(samples))
    assert gain == pytest.approx(voices.GAIN, abs=0.5)

    def tilt(sound):
        frequencies, power = _spectrum(sound)
        return power[frequencies > 600].sum() / power.sum()

    alike = voices.raised(samples, semitones=voices.SEMITONES)
    assert tilt(made) > 2 * tilt(alike) > 2 * tilt(samples)


def test_what_is_silent_short_or_loud_stays_within_bounds():
    assert not voices.angry(np.zeros(5000, np.float32)).any()
    assert len(voices.angry(np.full(100, 0.1, np.float32))) == 100
    assert len(voices.angry(np.zeros(0, np.float32))) == 0
    assert np.abs(voices.angry(9 * _voice())).max() == 1.0
