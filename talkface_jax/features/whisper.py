"""Speech content by the encoder of Whisper tiny.en (Radford et al., 2022): 384 values, 50 Hz.

The front end is Whisper's: 80 Slaney mel bands of 400-sample windows every 160 samples, decadic
logarithm, at most 8 below the window's largest, (x + 4) / 4.

Whisper looks at 30 seconds at a time and knows where in them a sound is: the same sound a few
seconds later gives other values. So that a network meets in a long recording what it was trained
on, recordings are computed in the pieces that prepared records are (at most 5 s), each with the
0.2 s on either side that a record carries, in a window of 6 s continued with silence as Whisper's
30 s are.
The shorter window costs an eighth, and mouth openings read off it linearly are as good.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32

from talkface_jax.features.host import HostNetwork
from talkface_jax.features.spectra import power_rows, slaney_bank
from talkface_jax.interop.content_weights import load_whisper_tiny
from talkface_jax.interop.weights import REGISTRY
from talkface_jax.models.frozen.whisper import WhisperEncoder
from talkface_jax.records import AUDIO_RATE, SEGMENT_FRAMES, segment_spans

NAME = "whisper_tiny"
VERSION = 1
ROW_SAMPLES = 320
FRAME_ROWS = 2
PIECE_ROWS = FRAME_ROWS * SEGMENT_FRAMES
"""Most rows that are kept of one window: those of the longest prepared record."""
CONTEXT_ROWS = 10
"""Rows (0.2 s) that a window computes beyond either end of its piece, as a record has them."""
WINDOW_ROWS = 300
_FFT = 400
_HOP = 160
_BANDS = 80


def log_mel(
    samples: Float[np.ndarray, " s"], *, rows: int = 2 * WINDOW_ROWS
) -> Float32[np.ndarray, "m 80"]:
    """Whisper's log-mel rows of 16 kHz sound, continued with silence or cut to `rows` rows.

    Row j is centred on sample 160 j; the sound is mirrored before its first sample.
    """
    window = np.zeros(rows * _HOP, np.float32)
    window[: len(samples)] = samples[: len(window)]
    padded = np.pad(window, _FFT // 2, mode="reflect")
    power = power_rows(padded, window=_FFT, hop=_HOP, rows=rows)
    bank = slaney_bank(rate=AUDIO_RATE, size=_FFT, bands=_BANDS, low=0, high=AUDIO_RATE / 2)
    levels = np.log10(np.maximum(power @ bank.T, 1e-10))
    return ((np.maximum(levels, levels.max() - 8) + 4) / 4).astype(np.float32)


@functools.cache
def _encoder() -> HostNetwork:
    return HostNetwork(WhisperEncoder(), load_whisper_tiny())


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a recording that is computed at once; all are row numbers of the recording.

    Attributes:
      first, last: what the network sees, `last` excluded.
      begin, end: what is kept of it, `end` excluded.
    """

    first: int
    last: int
    begin: int
    end: int


def pieces(rows: int) -> Iterator[Piece]:
    """How a recording of `rows` rows is cut: where the segments of a clip of its length are.

    A prepared record with the sound on either side is one piece, whose own rows are those that the
    whole recording has in its place. A recording that is no longer than such a record is one piece
    too.
    """
    if rows <= CONTEXT_ROWS + PIECE_ROWS + CONTEXT_ROWS:
        yield Piece(0, rows, 0, rows)
        return
    for first, last in segment_spans(-(-rows // FRAME_ROWS)):
        begin, end = FRAME_ROWS * first, min(FRAME_ROWS * last, rows)
        yield Piece(max(0, begin - CONTEXT_ROWS), min(end + CONTEXT_ROWS, rows), begin, end)


@dataclasses.dataclass(frozen=True)
class WhisperFeature:
    """The feature; light, so that it may be sent to reader processes, which load the network."""

    name: str = NAME
    version: int = VERSION
    size: int = 384

    def cache_key(self) -> str:
        """Name, version and the beginning of the weight file's checksum."""
        return f"{self.name}-v{self.version}-{REGISTRY[NAME].sha256[:12]}"

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "m 384"]:
        """Rows of 16 kHz mono samples in [-1, 1]: row i is centred on sample 320 i."""
        samples = np.asarray(samples, np.float32)
        rows = np.empty((-(-len(samples) // ROW_SAMPLES), self.size), np.float32)
        for piece in pieces(len(rows)):
            part = samples[piece.first * ROW_SAMPLES : piece.last * ROW_SAMPLES]
            encoded = _encoder()(log_mel(part)[None])[0]
            rows[piece.begin : piece.end] = encoded[piece.begin - piece.first :][
                : piece.end - piece.begin
            ]
        return rows


def load() -> WhisperFeature:
    """The feature, its network ready.

    Raises:
      WeightsError: the package with the weights is missing, or its file is not the known one.
    """
    _encoder()
    return WhisperFeature()
