"""Phonemes to mouth shapes: coarticulated weights of the ARKit shapes over time.

Each phoneme has a viseme (a set of shape weights); the piecewise constant targets are smoothed by a
Gaussian (sigma 40 ms), which is the coarticulation. Lips close on p, b and m, and the lower lip
rises on f and v, whatever the emotion does: `close_lips` is applied after the emotion is mixed in.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.synthetic.speech import Phoneme
from talkface_jax.records import FPS

_OVERSAMPLING = 4
_SIGMA = 0.040
_GATE_SIGMA = 0.050


def _pair(shape: str, weight: float) -> dict[str, float]:
    return {f"{shape}Left": weight, f"{shape}Right": weight}


VISEMES: Mapping[str, Mapping[str, float]] = {
    "PP": {"mouthClose": 0.25, "mouthRollLower": 0.3, "mouthRollUpper": 0.3, "jawOpen": 0.05}
    | _pair("mouthPress", 0.5),
    "FF": {"mouthRollLower": 0.6, "jawOpen": 0.08} | _pair("mouthUpperUp", 0.3),
    "TH": {"jawOpen": 0.18, "tongueOut": 0.25},
    "DD": {"jawOpen": 0.16} | _pair("mouthLowerDown", 0.25),
    "kk": {"jawOpen": 0.2},
    "CH": {"mouthFunnel": 0.55, "mouthPucker": 0.3, "jawOpen": 0.12},
    "SS": {"jawOpen": 0.06} | _pair("mouthStretch", 0.35) | _pair("mouthLowerDown", 0.3),
    "nn": {"jawOpen": 0.14},
    "RR": {"mouthFunnel": 0.3, "mouthPucker": 0.25, "jawOpen": 0.16},
    "aa": {"jawOpen": 0.6} | _pair("mouthLowerDown", 0.3),
    "E": {"jawOpen": 0.35} | _pair("mouthStretch", 0.3),
    "ih": {"jawOpen": 0.2} | _pair("mouthSmile", 0.3),
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.5},
    "ou": {"jawOpen": 0.18, "mouthPucker": 0.9},
}

_SYMBOLS = {
    "PP": "pbm",
    "FF": "fv",
    "TH": "θð",
    "DD": "tdlT",
    "kk": "kɡŋh",
    "CH": "ʃʒʧʤ",
    "SS": "sz",
    "nn": "n",
    "RR": "ɹ",
    "aa": "aɑæʌAIW",
    "E": "ɛəɜᵊɐ",
    "ih": "iɪjᵻ",
    "oh": "ɔOY",
    "ou": "uʊw",
}
VISEME_OF: Mapping[str, str] = {c: viseme for viseme, symbols in _SYMBOLS.items() for c in symbols}

_OPENING = ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight")


def mouth_weights(
    phonemes: Sequence[Phoneme], frames: int, *, names: Sequence[str]
) -> Float32[np.ndarray, "t k"]:
    """Weights of the shapes `names` at 25 frames a second for speech alone.

    Phonemes without a viseme (stress marks, spaces, pauses) ask for the mouth at rest.
    """
    steps = frames * _OVERSAMPLING
    rate = FPS * _OVERSAMPLING
    targets = np.zeros((steps, len(names)), np.float32)
    times = np.arange(steps) / rate
    for phoneme in phonemes:
        viseme = VISEME_OF.get(phoneme.symbol)
        if viseme is None:
            continue
        rows = (times >= phoneme.start) & (times < phoneme.end)
        for shape, weight in VISEMES[viseme].items():
            column = names.index(shape)
            targets[rows, column] = np.maximum(targets[rows, column], weight)
    return _smooth(targets, _SIGMA * rate)[::_OVERSAMPLING].astype(np.float32)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    half = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)


def _gate(phonemes: Sequence[Phoneme], symbols: str, frames: int) -> np.ndarray:
    """1 at the middle of the given phonemes, falling off as a Gaussian (sigma 50 ms)."""
    times = np.arange(frames) / FPS
    gate = np.zeros(frames)
    for phoneme in phonemes:
        if phoneme.symbol in symbols:
            middle = (phoneme.start + phoneme.end) / 2
            gate = np.maximum(gate, np.exp(-0.5 * ((times - middle) / _GATE_SIGMA) ** 2))
    return gate


def close_lips(
    weights: Float32[np.ndarray, "t k"], phonemes: Sequence[Phoneme], *, names: Sequence[str]
) -> Float32[np.ndarray, "t k"]:
    """Lets bilabials and labiodentals close through whatever else opens the mouth."""
    closed = weights.copy()
    jaw = names.index("jawOpen")
    both = _gate(phonemes, _SYMBOLS["PP"] + _SYMBOLS["FF"], len(weights))
    closed[:, jaw] = closed[:, jaw] * (1 - 0.85 * both) + 0.04 * both
    bilabial = _gate(phonemes, _SYMBOLS["PP"], len(weights))
    for shape in _OPENING:
        closed[:, names.index(shape)] *= 1 - 0.9 * bilabial
    return closed
