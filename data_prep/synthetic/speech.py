"""Text to speech with the time of every phoneme (hibari-tts, its packaged American voice)."""

import dataclasses
import functools
import importlib.util
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float32

from talkface_jax import extras
from talkface_jax.errors import TalkfaceError

RATE = 24_000
_MODEL = "assets/hibari.onnx"
# The network's tensor of phoneme durations, in steps of 25 ms; the sound leads their sum by 70 ms.
_DURATIONS, _STEP, _LEAD = "/Clip_output_0", 0.025, 0.070


@dataclasses.dataclass(frozen=True)
class Phoneme:
    """A phoneme (hibari's symbol; "^" and "$" end the sentence) from start to end in seconds."""

    symbol: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class Speech:
    """Mono sound in [-1, 1] at 24 kHz and the phonemes in it."""

    samples: Float32[np.ndarray, " s"]
    phonemes: tuple[Phoneme, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / RATE

    def padded(self, before: float, after: float) -> "Speech":
        """With seconds of silence around it."""
        first = round(before * RATE)
        samples = np.pad(self.samples, (first, round(after * RATE)))
        shift = first / RATE
        moved = (Phoneme(p.symbol, p.start + shift, p.end + shift) for p in self.phonemes)
        return Speech(samples, tuple(moved))


@functools.lru_cache(maxsize=1)
def _voice() -> tuple[Any, Any]:
    """The text front end, and the network with phoneme durations as one more output."""
    spec = importlib.util.find_spec("hibari")
    if spec is None or spec.origin is None:
        raise TalkfaceError(f"the package hibari-tts is not installed; {extras.pip_line('demo')}")
    import hibari
    import onnx
    import onnxruntime

    model = onnx.load(str(pathlib.Path(spec.origin).parent / _MODEL))
    model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, 1, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return hibari.Hibari(), session


def speak(text: str, *, pitch: float = 1.0, speed: float = 1.0) -> Speech:
    """Synthesises `text`; the same arguments give the same samples (50 times real time).

    Args:
      text: English.
      pitch: factor on the fundamental frequency (0.7 to 1.3 sounds natural).
      speed: factor on the pace.

    Raises:
      TalkfaceError: hibari-tts is not installed, or the text holds nothing that can be said.
    """
    voice, session = _voice()
    from hibari import dsp

    synthesise: Any = dsp.synth
    sounds, phonemes, time = [], [], 0.0
    for line in voice.phonemize(text):
        feeds = {
            "ids": np.asarray([voice.ids(line)], np.int64),
            "speed": np.asarray([speed], np.float32),
        }
        *spectra, steps = session.run(None, feeds)
        parts = [part[0] for part in spectra]
        parts[5] = parts[5] * np.float32(pitch)
        sound = synthesise(*parts, np.random.default_rng(0))
        edges = time + np.concatenate([[0.0], np.cumsum(steps.ravel() * _STEP)]) - _LEAD
        symbols = ["^", *(c for c in line if c in voice.vocab), "$"]
        for symbol, start, end in zip(symbols, edges[:-1], edges[1:], strict=True):
            phonemes.append(Phoneme(symbol, float(max(start, 0.0)), float(max(end, 0.0))))
        sounds.append(sound.astype(np.float32))
        time += len(sound) / RATE
    if not sounds:
        raise TalkfaceError(f"Nothing in the text {text!r} can be spoken; give English words.")
    return Speech(np.concatenate(sounds), tuple(phonemes))
