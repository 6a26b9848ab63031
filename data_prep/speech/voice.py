"""One planned utterance as 16 kHz sound that fits a record."""

import pathlib

import numpy as np
from jaxtyping import Int16

from data_prep.speech import kokoro
from data_prep.speech.plan import HIBARI, Utterance
from data_prep.synthetic import speech as hibari
from talkface_jax.errors import MediaError
from talkface_jax.media.audio import to_int16
from talkface_jax.records import AUDIO_RATE, SAMPLES_PER_FRAME, SEGMENT_FRAMES

LENGTH = SEGMENT_FRAMES * SAMPLES_PER_FRAME
"""Samples of a record: 5 s."""
_LONGEST = LENGTH - AUDIO_RATE // 20
_TRIES = 4
# Resampling factors are multiples of 1/_STEPS at Kokoro's and hibari's 24 kHz.
_STEPS = 300


def say(utterance: Utterance, *, voices: pathlib.Path | None) -> Int16[np.ndarray, " s"]:
    """The sound of an utterance; one that takes too long is said again, faster.

    Args:
      utterance: what, by whom and how.
      voices: folder of Kokoro's voices; None where hibari speaks.

    Raises:
      MediaError: it takes more than five seconds even then.
      TalkfaceError: a package or the voice is missing.
    """
    speed = utterance.speed
    for _ in range(_TRIES):
        samples = _speak(utterance, speed, voices)
        if len(samples) <= _LONGEST:
            return to_int16(np.clip(samples, -1, 1))
        # A voice's pace follows the factor only roughly.
        speed *= 1.05 * len(samples) / _LONGEST
    raise MediaError(
        f"{utterance.text!r} by {utterance.voice} takes more than the 5 s that a record holds"
    )


def _speak(utterance: Utterance, speed: float, voices: pathlib.Path | None) -> np.ndarray:
    from scipy.signal import resample_poly

    if utterance.voice == HIBARI:
        said = hibari.speak(utterance.text, pitch=utterance.pitch, speed=speed).samples
    elif voices is None:
        raise ValueError(f"voice {utterance.voice} needs the folder of voices")
    else:
        said = kokoro.speak(utterance.text, folder=voices, voice=utterance.voice, speed=speed)
    up = round(_STEPS * AUDIO_RATE / hibari.RATE / utterance.formant)
    return resample_poly(said, up, _STEPS).astype(np.float32)
