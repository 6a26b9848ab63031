import numpy as np
import pytest

from talkface_jax.features import spectra


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("size", "bands", "low", "high"), [(400, 80, 0, 8000), (800, 80, 55, 7600), (512, 13, 300, 900)]
)
def test_filters_are_librosas(size, bands, low, high):
    import librosa.filters

    ours = spectra.slaney_bank(rate=16000, size=size, bands=bands, low=low, high=high)
    theirs = librosa.filters.mel(sr=16000, n_fft=size, n_mels=bands, fmin=low, fmax=high)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_power_is_that_of_tapered_windows(monkeypatch):
    samples = np.random.default_rng(0).normal(size=900).astype(np.float32)
    taper = np.sin(np.pi * np.arange(400) / 400) ** 2
    expected = [
        np.abs(np.fft.rfft(samples[start : start + 400] * taper)) ** 2 for start in (0, 160, 320)
    ]
    monkeypatch.setattr(spectra, "_CHUNK", 2)
    power = spectra.power_rows(samples, window=400, hop=160, rows=3)
    np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1e-4)
