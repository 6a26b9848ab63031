"""How well a recogniser reads the test split: character error rates by voice, clean and noisy."""

import dataclasses
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from talkface_jax.data.dataset import PreparedDataset
from talkface_jax.features import alphabet
from talkface_jax.methods.speech import noises
from talkface_jax.methods.speech.ctc29.config import SoundConfig
from talkface_jax.metrics.text import edit_distance

_INT16 = np.float32(32768)


@dataclasses.dataclass(frozen=True)
class VoiceScore:
    """A voice's test clips: how many, their characters, and the errors in clean and noisy sound."""

    voice: str
    clips: int
    characters: int
    clean_errors: int
    noisy_errors: int

    @property
    def clean(self) -> float:
        """Character error rate of clean sound."""
        return self.clean_errors / self.characters

    @property
    def noisy(self) -> float:
        """Character error rate of disturbed sound."""
        return self.noisy_errors / self.characters


def score_voices(
    recognise: Callable[[np.ndarray], Float32[np.ndarray, "m 29"]],
    dataset: PreparedDataset,
    sound: SoundConfig,
) -> list[VoiceScore]:
    """The scores of every voice of a split, by name; the last one, "all", is of all of them.

    Args:
      recognise: logits of 16 kHz samples in [-1, 1].
      dataset: records with their text.
      sound: how the noisy sound is disturbed; the draws depend on the record's number alone.
    """
    rows = [VoiceScore(voice, 1, *counts) for voice, counts in _records(recognise, dataset, sound)]
    voices = sorted({row.voice for row in rows})
    groups = {voice: [row for row in rows if row.voice == voice] for voice in voices}
    return [_total(name, own) for name, own in {**groups, "all": rows}.items()]


def _total(name: str, rows: list[VoiceScore]) -> VoiceScore:
    return VoiceScore(
        name,
        len(rows),
        sum(row.characters for row in rows),
        sum(row.clean_errors for row in rows),
        sum(row.noisy_errors for row in rows),
    )


def _records(
    recognise: Callable[[np.ndarray], Float32[np.ndarray, "m 29"]],
    dataset: PreparedDataset,
    sound: SoundConfig,
) -> Iterator[tuple[str, tuple[int, int, int]]]:
    for number in range(len(dataset)):
        segment = dataset.segment(number)
        samples = segment.audio.astype(np.float32) / _INT16
        noisy = noises.disturb(np.random.default_rng([1, number]), samples, sound)
        wanted = alphabet.encode(segment.info.text)
        errors = [_errors(recognise(version), wanted) for version in (samples, noisy)]
        yield segment.info.speaker, (len(wanted), errors[0], errors[1])


def _errors(logits: Float32[np.ndarray, "m 29"], wanted: np.ndarray) -> int:
    found = alphabet.encode(alphabet.greedy_text(logits))
    # One size, so that it is compiled once.
    room = max(len(logits), len(wanted))
    padded = [
        jnp.asarray(np.pad(text, (0, room - len(text)), constant_values=-1))[None]
        for text in (found, wanted)
    ]
    return int(edit_distance(*padded)[0])
