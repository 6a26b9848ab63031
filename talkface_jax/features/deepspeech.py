"""Speech content by DeepSpeech 0.9.3: the logits of 28 characters and the CTC blank, 50 Hz.

The front end is the one that it was trained with (TensorFlow's audio_spectrogram and mfcc): 512-
sample windows every 320 samples, 40 mel bands from 20 to 8000 Hz, 26 cepstral coefficients. The
network sees nine rows of context on either side; rows beyond the ends of the sound are zeros.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Float32

from talkface_jax.features.host import HostNetwork
from talkface_jax.features.spectra import power_rows
from talkface_jax.interop.content_weights import DEEPSPEECH_CHARACTERS, load_deepspeech
from talkface_jax.interop.weights import digest_of
from talkface_jax.models.frozen.deepspeech import DeepSpeech, DeepSpeechConfig, initial_state
from talkface_jax.records import AUDIO_RATE

NAME = "deepspeech"
VERSION = 1
ROW_SAMPLES = 320
COEFFICIENTS = 26
CONTEXT = 9
"""Rows on either side of the one that is classified."""
PIECE_ROWS = 512
"""Rows computed at once; the LSTM's state goes from piece to piece."""
_SHORTEST_ROWS = 64
_WINDOW = 512
_BANDS = 40
_LOW_HZ = 20.0
_HIGH_HZ = AUDIO_RATE / 2
_FLOOR = 1e-12


def _to_mel(hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


@functools.cache
def _bank() -> Float[np.ndarray, "40 257"]:
    """TensorFlow's MfccMelFilterbank: triangles of height 1 on the mel axis, over magnitudes.

    As in HTK the bins below the lower limit, rounded up by half a bin, have no part in it.
    """
    hz = np.fft.rfftfreq(_WINDOW, 1 / AUDIO_RATE)
    edges = np.linspace(_to_mel(_LOW_HZ), _to_mel(_HIGH_HZ), _BANDS + 2)
    spacing = edges[1] - edges[0]
    distance = np.abs(_to_mel(hz) - edges[1:-1, None]) / spacing
    step = hz[1]
    used = np.arange(len(hz))
    used = (used >= int(1.5 + _LOW_HZ / step)) & (used <= int(_HIGH_HZ / step))
    return np.maximum(0, 1 - distance) * used


@functools.cache
def _cosines() -> Float[np.ndarray, "26 40"]:
    """TensorFlow's MfccDct: a DCT-II whose rows, the first one too, are scaled by sqrt(2/40)."""
    angle = np.pi / _BANDS * np.outer(np.arange(COEFFICIENTS), np.arange(_BANDS) + 0.5)
    return np.sqrt(2 / _BANDS) * np.cos(angle)


def mfcc(samples: Float[np.ndarray, " s"], rows: int) -> Float32[np.ndarray, "m 26"]:
    """The first `rows` rows of cepstral coefficients; row i is of samples 320 i to 320 i + 511.

    The sound is continued with silence as far as they reach.
    """
    needed = (rows - 1) * ROW_SAMPLES + _WINDOW
    samples = np.asarray(samples[:needed], np.float32)
    samples = np.pad(samples, (0, needed - len(samples)))
    power = power_rows(samples, window=_WINDOW, hop=ROW_SAMPLES, rows=rows)
    levels = np.log(np.maximum(np.sqrt(power) @ _bank().T, _FLOOR))
    return (levels @ _cosines().T).astype(np.float32)


def in_context(
    samples: Float[np.ndarray, " s"], start: int, stop: int, *, rows: int
) -> Float32[np.ndarray, "m 494"]:
    """Rows `start` to `stop` of a recording of `rows` rows, each with nine rows on either side."""
    first, last = max(0, start - CONTEXT), min(rows, stop + CONTEXT)
    found = mfcc(samples[first * ROW_SAMPLES :], last - first)
    padding = (CONTEXT - (start - first), CONTEXT - (last - stop))
    found = np.pad(found, (padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(found, 2 * CONTEXT + 1, axis=0)
    return np.swapaxes(windows, 1, 2).reshape(stop - start, -1)


@functools.cache
def _network(path: str) -> tuple[HostNetwork, DeepSpeechConfig, str]:
    """The network in a file, its sizes, and a digest of its weights."""
    params = load_deepspeech(path)
    config = DeepSpeechConfig(hidden=len(params["layer_1"]["bias"]))
    flat = {
        f"{name}/{part}": array for name, tree in params.items() for part, array in tree.items()
    }
    return HostNetwork(DeepSpeech(config), params), config, digest_of(flat)


def _bucket(rows: int) -> int:
    """The number of rows that are computed for `rows`: a power of two, so that few programs are
    compiled."""
    return max(_SHORTEST_ROWS, 1 << (rows - 1).bit_length())


@dataclasses.dataclass(frozen=True)
class DeepSpeechFeature:
    """The feature; light, so that it may be sent to reader processes, which load the network.

    Attributes:
      weights: the file with the weights.
      digest: of the weights.
    """

    weights: str
    digest: str
    name: str = NAME
    version: int = VERSION
    size: int = DEEPSPEECH_CHARACTERS

    def cache_key(self) -> str:
        """Name, version and the beginning of the digest of the weights."""
        return f"{self.name}-v{self.version}-{self.digest[:12]}"

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "m f"]:
        """Logits of 16 kHz mono samples in [-1, 1]: row i begins at sample 320 i."""
        network, config, _ = _network(self.weights)
        logits = np.empty((-(-len(samples) // ROW_SAMPLES), self.size), np.float32)
        state = initial_state(1, config)
        for start in range(0, len(logits), PIECE_ROWS):
            stop = min(start + PIECE_ROWS, len(logits))
            inputs = in_context(samples, start, stop, rows=len(logits))
            # What is computed for the rows that fill the last bucket is dropped.
            inputs = np.pad(inputs, ((0, _bucket(stop - start) - (stop - start)), (0, 0)))
            found, state = network(inputs[None], state)
            logits[start:stop] = found[0, : stop - start]
        return logits


def load(path: str) -> DeepSpeechFeature:
    """The feature with the weights of a file, its network ready.

    Raises:
      WeightsError: as `interop.content_weights.load_deepspeech`.
    """
    _, _, digest = _network(path)
    return DeepSpeechFeature(path, digest)
