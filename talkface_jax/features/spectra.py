"""What the front ends of the speech networks share: windowed power spectra and Slaney mel bands."""

import functools

import numpy as np
from jaxtyping import Float, Float32

_CHUNK = 2048
# Slaney's scale: linear below 1 kHz, logarithmic above.
_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def power_rows(
    samples: Float[np.ndarray, " s"], *, window: int, hop: int, rows: int
) -> Float32[np.ndarray, "m k"]:
    """|FFT|² of periodic-Hann windows that begin at every `hop`-th sample: (rows, window/2 + 1)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop][:rows]
    taper = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    power = np.empty((rows, window // 2 + 1), np.float32)
    for start in range(0, rows, _CHUNK):
        part = slice(start, start + _CHUNK)
        power[part] = np.square(np.abs(np.fft.rfft(windows[part] * taper)))
    return power


def _slaney_to_hz(mels: np.ndarray) -> np.ndarray:
    at_break = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - at_break))
    return np.where(mels < at_break, _LINEAR_HZ * mels, above)


def _hz_to_slaney(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return _BREAK_HZ / _LINEAR_HZ + float(np.log(hz / _BREAK_HZ)) / _LOG_STEP


@functools.cache
def slaney_bank(
    *, rate: int, size: int, bands: int, low: float, high: float
) -> Float32[np.ndarray, "bands k"]:
    """Triangular filters on Slaney's mel scale, each of area 1 over its frequencies in Hz.

    Equal to `librosa.filters.mel` with its defaults.

    Args:
      rate: samples a second.
      size: of the FFT.
      bands: number of filters.
      low, high: ends of the lowest and the highest filter in Hz.
    """
    edges = _slaney_to_hz(np.linspace(_hz_to_slaney(low), _hz_to_slaney(high), bands + 2))
    bins = np.fft.rfftfreq(size, 1 / rate)
    slopes = edges[:, None] - bins
    widths = np.diff(edges)[:, None]
    rising, falling = -slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    filters.setflags(write=False)  # the same array for every caller
    return filters
