"""Measures of the sound: level, speech, and its offset from the mouth."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32

from talkface_jax.landmarks import measures, schemes
from talkface_jax.media.audio import to_int16
from talkface_jax.records import AUDIO_RATE, SAMPLES_PER_FRAME, FaceTrack

SILENCE = -120.0
_LOUD_PERCENTILE = 95
# Speech is looked for at one loudness, in windows of 30 ms: the detector misses quiet voices.
_SPEECH_LEVEL = -20.0
_WINDOW = AUDIO_RATE * 30 // 1000
# WebRTC's detector goes from 0, lenient, to 3, strict.
_VAD_MODE = 2
# The detector takes steady noise and hum for speech; speech stands out of the quietest windows.
_FLOOR_PERCENTILE = 5
_OVER_FLOOR = 5.0
_MAX_LAG = 15
# Offsets this near to the best one belong to the same peak.
_PEAK = 3
_SPEECH_BAND = (300, 3500)
_RANGE = 40.0
_SMOOTH = 1.0


@dataclasses.dataclass(frozen=True)
class Offset:
    """Frames by which the sound comes after the mouth, and how sure that is (0 to 1)."""

    frames: float
    confidence: float


def level(audio: Float32[np.ndarray, " s"]) -> float:
    """Level of the loud parts in dBFS: the 95th percentile over 40 ms; -120 for digital silence.

    A sine of full scale has -3.
    """
    parts = _decibels(audio, SAMPLES_PER_FRAME)
    return float(np.percentile(parts, _LOUD_PERCENTILE)) if len(parts) else SILENCE


def speech_share(audio: Float32[np.ndarray, " s"]) -> float:
    """Share of the 30-ms windows in which somebody speaks.

    These are the ones that WebRTC's detector (mode 2) takes for speech, at a level of -20 dBFS, and
    that are 5 dB over the quietest ones in the speech band. Speech has 0.6 to 0.8, and still 0.17
    or more in white noise 5 dB below it; noise of any colour, hum and tones have 0. Music and
    bursts of noise are not told from speech.
    """
    import webrtcvad

    loud = level(audio)
    if loud <= SILENCE:
        return 0.0
    detector = webrtcvad.Vad(_VAD_MODE)
    at_level = to_int16(audio * np.float32(10 ** ((_SPEECH_LEVEL - loud) / 20)))
    parts = _decibels(_speech_band(audio), _WINDOW)
    if not len(parts):
        return 0.0
    rows = at_level[: len(parts) * _WINDOW].reshape(-1, _WINDOW)
    voiced = np.array([detector.is_speech(row.tobytes(), AUDIO_RATE) for row in rows], bool)
    floor = np.percentile(parts, _FLOOR_PERCENTILE)
    return float(np.mean(voiced & (parts >= floor + _OVER_FLOOR)))


def offset(track: FaceTrack, *, audio: Float32[np.ndarray, " s"]) -> Offset:
    """How late the sound is, from the mouth's opening against the level of the speech band.

    Two correlations are averaged for every lag up to 15 frames: of the opening's speed with the
    level, and of its change with the level's change. The best lag is refined by a parabola. The
    confidence is its lead over the best lag more than 3 frames away; loudness follows the opening
    loosely, so a single clip is often unsure, and the mean over many clips of a source says more.
    Frames without a face do not count; a still mouth or silence gives 0 with confidence 0.
    """
    frames = len(track)
    reach = min(_MAX_LAG, frames // 3)
    if reach < 1 or not np.any(track.valid) or level(audio) <= SILENCE:
        return Offset(0.0, 0.0)
    loud = _speech_level(audio, frames)
    opening = measures.mouth_opening(track.landmarks, schemes.get_scheme("mesh478"))
    at = np.flatnonzero(track.valid)
    opening = np.interp(np.arange(frames), at, opening[at])
    speed, change = _smooth(np.abs(np.gradient(opening))), np.gradient(_smooth(opening))
    curve = (
        _lag_curve(speed, loud, track.valid, reach)
        + _lag_curve(change, np.gradient(_smooth(loud)), track.valid, reach)
    ) / 2
    best = int(np.argmax(curve))
    if curve[best] <= 0:
        return Offset(0.0, 0.0)
    away = np.abs(np.arange(len(curve)) - best) > _PEAK
    others = max(0.0, float(curve[away].max())) if away.any() else float(curve[best])
    return Offset(_vertex(curve, best) - reach, float(curve[best]) - others)


def _speech_level(audio: np.ndarray, frames: int) -> Float[np.ndarray, " t"]:
    """Level of the speech band around each frame: 0 at 40 dB under the loud ones, in dB.

    A frame is shown at one instant, so its window lies half before and half after it.
    """
    length = frames * SAMPLES_PER_FRAME
    samples = np.zeros(length + SAMPLES_PER_FRAME)
    kept = audio[: length + SAMPLES_PER_FRAME // 2]
    samples[SAMPLES_PER_FRAME // 2 :][: len(kept)] = kept
    parts = _decibels(_speech_band(samples)[:length], SAMPLES_PER_FRAME)
    return np.maximum(parts - np.percentile(parts, _LOUD_PERCENTILE) + _RANGE, 0)


def _speech_band(audio: np.ndarray) -> Float[np.ndarray, " s"]:
    """The sound between 300 and 3,500 Hz, not delayed."""
    from scipy import signal

    band = signal.butter(4, _SPEECH_BAND, "bandpass", fs=AUDIO_RATE, output="sos")
    return signal.sosfiltfilt(band, audio)


def _lag_curve(
    mouth: Float[np.ndarray, " t"],
    loud: Float[np.ndarray, " t"],
    valid: Bool[np.ndarray, " t"],
    reach: int,
) -> Float[np.ndarray, " lags"]:
    """Correlation of mouth(t) with loud(t + lag) over the frames with a face, lag = -reach ..."""
    curve = np.zeros(2 * reach + 1)
    for i, lag in enumerate(range(-reach, reach + 1)):
        first, last = max(0, -lag), len(mouth) - max(0, lag)
        seen = valid[first:last]
        a, b = mouth[first:last][seen], loud[first + lag : last + lag][seen]
        if len(a) > 2 and a.std() > 1e-6 and b.std() > 1e-6:
            curve[i] = np.corrcoef(a, b)[0, 1]
    return curve


def _vertex(curve: np.ndarray, best: int) -> float:
    """Where the parabola through the best value and its neighbours is highest."""
    if not 0 < best < len(curve) - 1:
        return float(best)
    before, peak, after = curve[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return best + float((before - after) / (2 * bend)) if bend < 0 else float(best)


def _smooth(values: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter1d(values, _SMOOTH, mode="nearest")


def _decibels(audio: np.ndarray, step: int) -> Float[np.ndarray, " m"]:
    """Level of each whole stretch of `step` samples in dBFS, at least -120."""
    rows = np.asarray(audio[: len(audio) // step * step], np.float64).reshape(-1, step)
    return 20 * np.log10(np.maximum(np.sqrt(np.mean(rows**2, -1)), 10 ** (SILENCE / 20)))
