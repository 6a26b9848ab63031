"""Which utterance each clip holds: a function of the counts, the seed and the voices."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_prep.speech import kokoro, texts
from data_prep.synthetic.sentences import held_out_sentences, val_sentences
from talkface_jax.errors import ConfigError

HIBARI = "hibari"
TRAIN, VAL, TEST = "train", "val", "test"
_VAL_VOICES = 2
_GROUP, _KOKORO = 5, 3
# With voices, training clips come in groups: the first is by Kokoro, the next ones are the same
# sound with other formants (Kokoro takes 25 times hibari's time), the rest by hibari.
# Seconds a character at most, at speed 1; a faster pace is chosen where five seconds are too few.
_PACE = 0.0138


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One clip to be spoken.

    Attributes:
      clip: unique name.
      split: `TRAIN`, `VAL` or `TEST`.
      voice: "hibari" or a Kokoro voice.
      text: the sentence.
      speed: factor on the pace.
      pitch: factor on the fundamental frequency (hibari only).
      formant: factor on all frequencies, by resampling; it shortens the sound as much.
    """

    clip: str
    split: str
    voice: str
    text: str
    speed: float
    pitch: float
    formant: float


def make_plan(
    clips: int, test_clips: int, *, seed: int, voices: Sequence[str], val_clips: int = 0
) -> tuple[Utterance, ...]:
    """The utterances of a data set, the training ones first and those of val last; fewer training
    clips are the first of more.

    Args:
      clips: training utterances.
      test_clips: test utterances (`held_out_pairs`).
      seed: of the sentences and variations, and of the voices of val.
      voices: Kokoro voices, empty for hibari alone.
      val_clips: val utterances (`val_pairs`); where there are any, their voices (but for hibari,
        who speaks everywhere) do not train.

    Raises:
      ConfigError: there are not so many test or val utterances.
    """
    kept = val_voices(voices, seed=seed) if val_clips else ()
    trained = [name for name in voices if name not in (*kokoro.HELD_OUT, *kept)]
    plan = []
    sentences = texts.train_texts(clips, rng=np.random.default_rng([seed, 1]))
    for index, text in enumerate(sentences):
        group, place = divmod(index, _GROUP)
        rng = np.random.default_rng([seed, 2, index])
        by_kokoro = bool(trained) and place < _KOKORO
        voice = trained[group % len(trained)] if by_kokoro else HIBARI
        if by_kokoro and place:
            plan.append(_shift(plan[index - place], f"train-{index:06d}", rng))
        else:
            plan.append(_vary(f"train-{index:06d}", voice, text, rng))
    tests = held_out_pairs([name for name in voices if name in kokoro.HELD_OUT])
    for split, count, spoken in ((TEST, test_clips, tests), (VAL, val_clips, val_pairs(kept))):
        if count > len(spoken):
            raise ConfigError(
                f"--{split}-clips={count}: there are {len(spoken)} held-out clips; ask for no more"
                + ("." if voices else ", or give --voices=DIR.")
            )
        for index, (voice, text) in enumerate(spoken[:count]):
            clip = f"{split}-{index:06d}"
            plan.append(Utterance(clip, split, voice, text, speed=1.0, pitch=1.0, formant=1.0))
    return tuple(plan)


def val_voices(voices: Sequence[str], *, seed: int) -> tuple[str, ...]:
    """The Kokoro voices of val, sorted: two drawn of those that are not held out, of which one at
    least is left for training."""
    others = sorted(name for name in voices if name not in kokoro.HELD_OUT)
    count = min(_VAL_VOICES, max(len(others) - 1, 0))
    drawn = np.random.default_rng([seed, 3]).choice(len(others), count, replace=False)
    return tuple(sorted(others[k] for k in drawn))


def held_out_pairs(voices: Sequence[str]) -> list[tuple[str, str]]:
    """Who says which held-out sentence in the test clips: every sentence by everyone, once.

    Held-out voices and hibari take turns until hibari has said all.
    """
    return _pairs(voices, held_out_sentences())


def val_pairs(voices: Sequence[str]) -> list[tuple[str, str]]:
    """The same for the val clips, with sentences of their own."""
    return _pairs(voices, val_sentences())


def _pairs(voices: Sequence[str], sentences: Sequence[str]) -> list[tuple[str, str]]:
    by_hibari = [(HIBARI, text) for text in sentences]
    if not voices:
        return by_hibari
    # Each time the sentences come round, they meet other voices.
    turns = [(k // len(sentences) + k, k) for k in range(len(sentences) * len(voices))]
    others = [(voices[t % len(voices)], sentences[k % len(sentences)]) for t, k in turns]
    mixed = [pair for both in zip(others, by_hibari, strict=False) for pair in both]
    return mixed + others[len(by_hibari) :]


def _vary(clip: str, voice: str, text: str, rng: np.random.Generator) -> Utterance:
    """A training utterance with drawn pace, pitch and formants."""
    speed, pitch, formant = rng.uniform((0.8, 0.7, 0.85), (1.25, 1.4, 1.18))
    if voice != HIBARI:
        # A real range of voices: half of its clips stay as they are, the others move less.
        pitch, formant = 1.0, 1.0 + float(rng.random() < 0.5) * (formant - 1.0) * 0.7
    speed = max(speed, _PACE * len(text) / formant)
    return Utterance(clip, TRAIN, voice, text, float(speed), float(pitch), float(formant))


def _shift(utterance: Utterance, clip: str, rng: np.random.Generator) -> Utterance:
    """The same sound as another clip with other formants, as far as five seconds allow."""
    formant = max(rng.uniform(0.85, 1.18), _PACE * len(utterance.text) / utterance.speed)
    return dataclasses.replace(utterance, clip=clip, formant=float(formant))
