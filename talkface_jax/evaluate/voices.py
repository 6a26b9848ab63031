"""A recording in another voice, at the same times: what an angry speaker changes of a neutral one.

Made-up voices know no anger, so that three of its acoustic marks are put on: a higher pitch, more
energy, and more of it at high frequencies (Scherer, Vocal communication of emotion, 2003, table 3).
Formants are raised with the pitch, and neither tempo nor intonation changes: the words keep their
times, and a mouth that follows the words must not change.
"""

import numpy as np
from jaxtyping import Float, Float32

SEMITONES = 3.0
GAIN = 6.0
TILT = 0.7
"""Of the pre-emphasis y[n] = x[n] - TILT x[n - 1], whose loudness is then made that of x."""
CONVENTION = (
    f"the same recording with its pitch raised by {SEMITONES:g} semitones (WSOLA; the times"
    f" of the words stay), pre-emphasis {TILT:g} at equal loudness, then {GAIN:g} dB louder"
)
_WINDOW, _SEARCH = 512, 160


def angry(samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, " s"]:
    """The recording (16 kHz, in [-1, 1]) as `CONVENTION` says; of the same length, clipped to
    [-1, 1]."""
    sharp = _emphasised(raised(samples, semitones=SEMITONES))
    return np.clip(10 ** (GAIN / 20) * sharp, -1, 1).astype(np.float32)


def raised(samples: Float[np.ndarray, " s"], *, semitones: float) -> Float[np.ndarray, " s"]:
    """The recording at another pitch, as long and as loud: stretched in time, then played faster.

    Shorter ones than a window of 32 ms are given back as they are.
    """
    from scipy.signal import resample

    samples = np.asarray(samples, np.float64)
    if len(samples) < _WINDOW:
        return samples
    made = resample(_stretched(samples, 2 ** (semitones / 12)), len(samples))
    return _as_loud_as(samples, np.asarray(made))


def _stretched(samples: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times as long at the same pitch: pieces of 32 ms, each taken where it continues the
    one before best (WSOLA; Verhelst and Roelands 1993)."""
    hop, length = _WINDOW // 2, round(factor * len(samples))
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(samples, (_SEARCH, 2 * _WINDOW + _SEARCH))
    made, place = np.zeros(length + 2 * _WINDOW), 0
    for start in range(0, length, hop):
        # Places are those of the recording; its padding is as long as the search goes back.
        near, wanted = round(start / factor), padded[_SEARCH + place :][:_WINDOW]
        if start:
            pieces = padded[near : near + 2 * _SEARCH + _WINDOW]
            place = near - _SEARCH + int(np.correlate(pieces, wanted, "valid").argmax())
        made[start : start + _WINDOW] += window * padded[_SEARCH + place :][:_WINDOW]
        place += hop
    return made[:length]


def _emphasised(samples: np.ndarray) -> np.ndarray:
    """With a spectrum that falls off less, as loud as before."""
    before = np.concatenate([np.zeros(1), samples])[: len(samples)]
    return _as_loud_as(samples, samples - TILT * before)


def _as_loud_as(samples: np.ndarray, made: np.ndarray) -> np.ndarray:
    """`made` with the power of `samples`; as it is where it is silent."""
    power = np.sum(made**2)
    return made * np.sqrt(np.sum(samples**2) / power) if power > 0 else made
