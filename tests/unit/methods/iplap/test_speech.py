import numpy as np
import pytest

from talkface_jax.features import mel
from talkface_jax.methods.iplap.speech import SpeechFeatures


@pytest.mark.parametrize("length", [640 * 40, 640 * 7 + 123, 100])
def test_pieces_of_speech_give_the_windows_of_the_whole(length):
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal(640 * 45)).astype(np.float32)[:length]
    speech = SpeechFeatures(samples)
    whole = mel.log_mel(samples)
    assert len(speech) == -(-length // 640)
    for first in range(0, len(speech), 9):
        frames = np.arange(first, min(first + 9, len(speech)))
        expected = mel.mel_windows(whole, frames)
        np.testing.assert_allclose(speech.windows(frames), expected, atol=1e-5)
