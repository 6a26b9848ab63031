import numpy as np
import pytest

from talkface_jax.features import mel


def sound(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@pytest.mark.filterwarnings("default")
def test_filter_bank_is_librosas():
    librosa_filters = pytest.importorskip("librosa").filters
    expected = librosa_filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    np.testing.assert_array_equal(mel._filters(), expected)


def test_rows_and_range():
    rows = mel.log_mel(sound(1.0))
    assert rows.shape == (81, 80) and rows.dtype == np.float32
    assert rows.min() >= -4 and rows.max() <= 4
    np.testing.assert_array_equal(mel.log_mel(np.zeros(4000, np.float32)), np.full((21, 80), -4.0))


def test_long_audio_equals_its_parts(monkeypatch):
    whole = mel.log_mel(sound(2.0))
    monkeypatch.setattr(mel, "_CHUNK", 7)
    np.testing.assert_allclose(mel.log_mel(sound(2.0)), whole, atol=1e-6)


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="44100"):
        mel.log_mel(sound(0.1), 44100)


def test_windows_are_those_of_the_released_code():
    rows = np.random.default_rng(1).normal(size=(400, 80)).astype(np.float32)
    frames = np.arange(100)
    windows = mel.mel_windows(rows, frames)
    assert windows.shape == (100, 80, 16)
    for frame in frames:
        start = max(0, int(80.0 * (frame - 2) / 25.0))
        np.testing.assert_array_equal(windows[frame], rows[start : start + 16].T)


def test_windows_past_the_end_are_silent():
    rows = np.zeros((20, 80), np.float32)
    windows = mel.mel_windows(rows, np.array([5, 50]))
    start = int(80 * 3 / 25)
    assert (windows[0, :, : 20 - start] == 0).all() and (windows[0, :, 20 - start :] == -4).all()
    assert (windows[1] == -4).all()


@pytest.mark.parametrize("start", [5, 6, 37, 125])
def test_a_part_with_context_has_the_windows_of_the_whole_clip(start):
    """What a segment computes at its borders is what the whole clip would give."""
    frames, clip = 25, sound(7.0, seed=2)
    first, last = start * 640, (start + frames) * 640
    before, after = min(first, 3200), 3200
    drop, row = mel.rows_of_part(start, before)
    part = mel.log_mel(clip[first - before + drop : last + after])
    at = np.arange(start, start + frames)
    ours = mel.mel_windows(part, at, first=row)
    np.testing.assert_allclose(ours, mel.mel_windows(mel.log_mel(clip), at), atol=2e-4)


def test_cache_key_tells_versions_apart(monkeypatch):
    key = mel.cache_key()
    assert key.startswith("mel80-v1-")
    mel.cache_key.cache_clear()
    monkeypatch.setattr(mel, "VERSION", 2)
    assert mel.cache_key() != key
    mel.cache_key.cache_clear()
