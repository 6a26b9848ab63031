"""Disturbances of speech: pure functions of 16 kHz samples and a random generator."""

import numpy as np
import scipy.fft
from jaxtyping import Float32

from talkface_jax.methods.speech.ctc29.config import SoundConfig
from talkface_jax.records import AUDIO_RATE

Sound = Float32[np.ndarray, " s"]
_BABBLE_VOICES = 5
_SILENT = 1e-5


def disturb(rng: np.random.Generator, samples: Sound, config: SoundConfig) -> Sound:
    """Echo, noise, a low-pass filter and another level, each with its probability."""
    if rng.random() < config.echo:
        samples = echo(rng, samples)
    if rng.random() < config.noise:
        snr = rng.uniform(config.lowest_snr, config.highest_snr)
        samples = add_noise(rng, samples, snr)
    if rng.random() < config.dull:
        samples = low_pass(samples, rng.uniform(2500, 6000))
    level = np.float32(10 ** (rng.normal(0, config.gain) / 20))
    return np.clip(samples * level, -1, 1)


def resample(samples: Sound, factor: float) -> Sound:
    """The sound played `factor` times as fast, by linear interpolation."""
    places = np.arange(round(len(samples) / factor)) * factor
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def add_noise(rng: np.random.Generator, samples: Sound, snr: float) -> Sound:
    """With one kind of noise, so many dB below the sound's mean power where it is not silent."""
    make = (white, pink, hum, babble)[rng.integers(4)]
    noise = make(rng, samples)
    loud = np.abs(samples) > _SILENT
    power = np.mean(np.square(samples[loud])) if loud.any() else 0.0
    own = np.mean(np.square(noise))
    if own == 0 or power == 0:
        return samples
    return samples + noise * np.float32(np.sqrt(power / own) * 10 ** (-snr / 20))


def white(rng: np.random.Generator, samples: Sound) -> Sound:
    """Gaussian noise with a flat spectrum."""
    return rng.standard_normal(len(samples), np.float32)


def pink(rng: np.random.Generator, samples: Sound) -> Sound:
    """Gaussian noise whose power falls with the frequency."""
    spectrum = np.fft.rfft(white(rng, samples))
    spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1, dtype=np.float32))
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def hum(rng: np.random.Generator, samples: Sound) -> Sound:
    """A mains frequency with harmonics of random strength."""
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    phase = np.arange(len(samples), dtype=np.float32) * np.float32(2 * np.pi * base / AUDIO_RATE)
    parts = [rng.uniform(0, 1 / k) * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 7)]
    return np.stack(parts).sum(0).astype(np.float32)


def babble(rng: np.random.Generator, samples: Sound) -> Sound:
    """Several copies of the sound backwards, each from another place and at another pace."""
    total = np.zeros_like(samples)
    for _ in range(_BABBLE_VOICES):
        voice = resample(samples[::-1], rng.uniform(0.8, 1.25))
        total += np.resize(np.roll(voice, rng.integers(len(voice))), len(samples))
    return total


def echo(rng: np.random.Generator, samples: Sound) -> Sound:
    """A room: decaying noise follows the sound, 3 to 15 dB below it.

    It loses 60 dB within 0.1 to 0.5 s. The direct sound stays where it is.
    """
    seconds = rng.uniform(0.1, 0.5)
    length = int(seconds * AUDIO_RATE)
    decay = np.exp(np.linspace(0, -6.9, length)).astype(np.float32)
    response = rng.standard_normal(length, np.float32) * decay
    response *= np.float32(10 ** (-rng.uniform(3, 15) / 20) / np.sqrt(np.sum(np.square(response))))
    response[0] = 1.0
    size = scipy.fft.next_fast_len(len(samples) + length, real=True)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: len(samples)].astype(np.float32)


def low_pass(samples: Sound, hertz: float) -> Sound:
    """Without what lies above a frequency (a Butterworth curve of the fourth order)."""
    spectrum = np.fft.rfft(samples)
    bins = np.linspace(0, AUDIO_RATE / 2, len(spectrum), dtype=np.float32)
    spectrum *= 1 / np.sqrt(1 + (bins / np.float32(hertz)) ** 8)
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)
