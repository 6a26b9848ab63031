"""What the recogniser takes of a segment: log-mel rows and the characters of its text."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float32

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.errors import RecordError
from talkface_jax.features import alphabet, ctc29
from talkface_jax.methods.speech import noises
from talkface_jax.methods.speech.ctc29.config import SoundConfig
from talkface_jax.records import SAMPLES_PER_FRAME, SEGMENT_FRAMES, Segment

_INT16 = np.float32(32768)
_LONGEST_MASK = 20
_WIDEST_MASK = 8


def _sound(segment: Segment) -> tuple[np.ndarray, str]:
    """The samples up to the last that is not silent, and the text."""
    loud = np.flatnonzero(segment.audio)
    return segment.audio[: loud[-1] + 1 if len(loud) else 0].copy(), segment.info.text


@dataclasses.dataclass(frozen=True)
class SpeechView:
    """Whole segments of 125 frames whose text is said in them; images are never decoded.

    A sample holds `mel` (500, bands), see `features.ctc29.log_mel`, and `labels`
    (most_characters,), the text's characters and -1 behind them.

    Attributes:
      bands: mel bands.
      most_characters: size of `labels`.
      sound: augmentation.
    """

    bands: int = 48
    most_characters: int = 96
    sound: SoundConfig = dataclasses.field(default_factory=SoundConfig)
    name: str = "speech/ctc29"
    window: int = SEGMENT_FRAMES
    faces: bool = False

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        rows = 2 * self.window * SAMPLES_PER_FRAME // ctc29.ROW_SAMPLES
        return {
            "mel": jax.ShapeDtypeStruct((batch_size, rows, self.bands), np.float32),
            "labels": jax.ShapeDtypeStruct((batch_size, self.most_characters), np.int32),
        }

    def sample(
        self, segment: SegmentReader, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """The segment's sound and text; see the class.

        Raises:
          RecordError: the segment has no text, or too much of it.
        """
        stored, text = segment.derived("speech", _sound)
        samples = stored.astype(np.float32) / _INT16
        room, delay = self.window * SAMPLES_PER_FRAME, 0
        if train:
            least = len(samples) / room
            factor = rng.uniform(1 - self.sound.resample, 1 + self.sound.resample)
            samples = noises.resample(samples, max(factor, least))[:room]
            delay = int(rng.integers(room - len(samples) + 1))
        samples = np.pad(samples, (delay, room - delay - len(samples)))
        if train or self.sound.noisy_evaluation:
            samples = noises.disturb(rng, samples, self.sound)
        mel = ctc29.log_mel(samples, bands=self.bands)
        if train:
            _hide(rng, mel, self.sound.masks)
        return {"mel": mel, "labels": self._labels(text)}

    def _labels(self, text: str) -> np.ndarray:
        numbers = alphabet.encode(text)
        if not 0 < len(numbers) <= self.most_characters:
            what = f"a text of {len(numbers)} characters" if len(numbers) else "no text"
            raise RecordError(
                f"a segment has {what}; prepare speech with known text (talkface prepare "
                f"--dataset=speech), of at most {self.most_characters} characters a segment"
            )
        return np.pad(numbers, (0, self.most_characters - len(numbers)), constant_values=-1).astype(
            np.int32
        )


def _hide(rng: np.random.Generator, mel: Float32[np.ndarray, "2m b"], masks: int) -> None:
    """Sets stretches of rows and of bands to the mean, in place."""
    mean = mel.mean()
    for axis, longest in ((0, _LONGEST_MASK), (1, _WIDEST_MASK)):
        for _ in range(masks):
            width = rng.integers(longest + 1)
            first = rng.integers(mel.shape[axis] - width + 1)
            mel[(slice(None),) * axis + (slice(first, first + width),)] = mean
