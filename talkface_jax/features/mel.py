"""Log-mel spectrogram of IP-LAP (and of the Wav2Lip family), 80 rows a second.

16 kHz mono; pre-emphasis 0.97; STFT of 800-sample Hann windows, hop 200, zeros beyond the ends; 80
Slaney mel bands from 55 to 7600 Hz; decibels relative to 20 dB, mapped from [-100, 0] to [-4, 4]
and clipped. NumPy only; the filter bank is librosa's, stored.
"""

import functools
import hashlib
import importlib.resources

import numpy as np
from jaxtyping import Float, Float32, Int

from talkface_jax.records import AUDIO_RATE, FPS

NAME = "mel80"
VERSION = 1
HOP = 200
WINDOW = 800
BANDS = 80
ROWS_PER_SECOND = AUDIO_RATE // HOP
WINDOW_ROWS = 16
SILENCE = -4.0
_PREEMPHASIS = 0.97
_CHUNK = 2048


@functools.cache
def _filters() -> Float32[np.ndarray, "80 401"]:
    asset = importlib.resources.files("talkface_jax.assets").joinpath("mel_slaney_80.npz")
    with asset.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["filters"]


@functools.cache
def cache_key() -> str:
    """Changes with whatever changes the feature: name, version, hash of the filter bank."""
    digest = hashlib.sha256(_filters().tobytes()).hexdigest()[:12]
    return f"{NAME}-v{VERSION}-{digest}"


def log_mel(
    samples: Float[np.ndarray, " s"], rate: int = AUDIO_RATE
) -> Float32[np.ndarray, "m 80"]:
    """The spectrogram of mono samples in [-1, 1]: 1 + s // 200 rows, values in [-4, 4].

    Row i is centred on sample 200 * i.

    Raises:
      ValueError: another sampling rate than 16 kHz.
    """
    if rate != AUDIO_RATE:
        raise ValueError(f"log_mel needs {AUDIO_RATE} Hz, not {rate}; resample the audio first")
    samples = np.asarray(samples, np.float32)
    emphasised = samples.copy()
    emphasised[1:] -= np.float32(_PREEMPHASIS) * samples[:-1]
    padded = np.pad(emphasised, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    # Periodic Hann, as scipy's get_window and librosa take it.
    taper = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    rows = np.empty((len(windows), BANDS), np.float32)
    for start in range(0, len(windows), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows[part] = np.abs(np.fft.rfft(windows[part] * taper)).astype(np.float32) @ _filters().T
    decibels = 20 * np.log10(np.maximum(rows, 1e-5)) - 20
    return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4).astype(np.float32)


def first_rows(frames: Int[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    """First spectrogram row of each video frame's window: int(80 (f - 2) / 25), not below 0."""
    return np.maximum(ROWS_PER_SECOND * (np.asarray(frames, np.int64) - 2) // FPS, 0)


def mel_windows(
    mel: Float32[np.ndarray, "m 80"], frames: Int[np.ndarray, " t"], *, first: int = 0
) -> Float32[np.ndarray, "t 80 16"]:
    """The 16 rows (0.2 s) that belong to each 25 fps video frame, bands first.

    Rows past either end of `mel` are silence.

    Args:
      mel: output of `log_mel`, of the clip or of a part of it.
      frames: indices of frames in the clip.
      first: index in the clip's spectrogram of the first row of `mel`.
    """
    rows = first_rows(frames)[:, None] + np.arange(WINDOW_ROWS) - first
    inside = (rows >= 0) & (rows < len(mel))
    taken = mel[np.clip(rows, 0, len(mel) - 1)]
    taken[~inside] = SILENCE
    return np.ascontiguousarray(np.swapaxes(taken, 1, 2))


def rows_of_part(start: int, before: int, *, hop: int = HOP) -> tuple[int, int]:
    """How a part of a clip lines up with the clip's spectrogram, or other rows a hop apart.

    Args:
      start: first frame of the part.
      before: samples that are at hand from before that frame.
      hop: samples from row to row.

    Returns:
      The number of samples to drop from the front, so that the rest begins on a row of the clip's
      spectrogram, and the index of that row.
    """
    at = start * (AUDIO_RATE // FPS) - before
    drop = -at % hop
    return drop, (at + drop) // hop
