"""The sound of a recording as the networks take it, for recordings of any length."""

import numpy as np
from jaxtyping import Float32, Int

from talkface_jax.features import mel
from talkface_jax.records import SAMPLES_PER_FRAME

# Rows of the spectrogram that a border of a piece of sound can touch: 400 samples, and one more.
_MEL_MARGIN = 3


class SpeechFeatures:
    """Log-mel windows of a recording, computed piece by piece; those of the whole, up to rounding.

    Args:
      samples: mono 16 kHz in [-1, 1]; sample 0 sounds with frame 0.
    """

    def __init__(self, samples: Float32[np.ndarray, " s"]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        """Frames that the sound lasts, the last one begun."""
        return -(-len(self._samples) // SAMPLES_PER_FRAME)

    def windows(self, frames: Int[np.ndarray, " t"]) -> Float32[np.ndarray, "t 80 16"]:
        """The window of each frame; see `features.mel.mel_windows`."""
        rows = mel.first_rows(frames)
        first = max(0, int(rows.min()) - _MEL_MARGIN)
        last = int(rows.max()) + mel.WINDOW_ROWS + _MEL_MARGIN
        piece = self._samples[first * mel.HOP : last * mel.HOP]
        if not len(piece):
            piece = np.zeros(1, np.float32)
        return mel.mel_windows(mel.log_mel(piece), frames, first=first)
