"""The emotion that a face shows, read from the tracker's blendshapes by a small network.

The network (`models.frozen.emotion`) was trained on synthetic talking heads
(assets/emotion_blendshapes.md). It sees the mean of the scores over the frames that are
given, so that speech and blinks average out; one frame will do. A mirrored face looks the same to
it, and gaze is not looked at.
"""

import dataclasses
import functools
import importlib.resources
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from talkface_jax import config
from talkface_jax.errors import ConfigError, FaceError, WeightsError
from talkface_jax.features.host import HostNetwork
from talkface_jax.interop.torch_file import file_sha256
from talkface_jax.interop.torch_rules import write_safetensors
from talkface_jax.landmarks.blendshapes import FLIP, NAMES
from talkface_jax.models.frozen.emotion import EmotionConfig, EmotionNetwork
from talkface_jax.records import EMOTIONS

NAME = "emotion_blendshapes"
VERSION = 1
ASSET = f"{NAME}.safetensors"
SHA256 = "4ec48c789d6442298acad40463ddff0179693b447a45db8910bcf6d6ae97fcb9"
"""Of the packaged file, which is refused where it has another."""
NEUTRAL = EMOTIONS.index("neutral")
SEEN = np.array(
    [
        k
        for k, name in enumerate(NAMES)
        if k and not name.startswith("eyeLook") and not (name.endswith("Right") and FLIP[k] < k)
    ]
)
"""Blendshapes that are looked at, of two sides the first: where people look says little of what
they feel."""
_PAIRS = SEEN[FLIP[SEEN] != SEEN]
STATISTICS = len(SEEN) + len(_PAIRS)
_REMEDY = "install the package again or write the file anew with talkface pack"


def statistics(
    blendshapes: Float[np.ndarray, "t 52"], valid: Bool[np.ndarray, " t"] | None = None
) -> Float32[np.ndarray, " k"]:
    """What the network is fed: over the valid frames, the mean of each blendshape in `SEEN`, both
    sides together, and of those with two sides how far the sides' means are apart.

    Raises:
      ValueError: other than 52 scores a frame.
      FaceError: no valid frame.
    """
    scores = np.asarray(blendshapes, np.float32)
    if scores.ndim != 2 or scores.shape[1] != len(NAMES):
        raise ValueError(f"blendshapes must be (t, {len(NAMES)}), not {scores.shape}")
    if valid is not None:
        scores = scores[np.asarray(valid, bool)]
    if not len(scores):
        raise FaceError("no frame shows a face whose emotion could be read; give one that does")
    mean = scores.mean(0)
    both = (mean[SEEN] + mean[FLIP[SEEN]]) / 2
    apart = np.abs(mean[_PAIRS] - mean[FLIP[_PAIRS]])
    return np.concatenate([both, apart]).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What a face shows.

    Attributes:
      probabilities: of each of `records.EMOTIONS`.
      intensity: how strong it is, level / 3: 1 at level 3.
    """

    probabilities: Float32[np.ndarray, " 8"]
    intensity: float

    @property
    def emotion(self) -> int:
        """The likeliest, an index of `records.EMOTIONS`."""
        return int(self.probabilities.argmax())

    @property
    def vector(self) -> Float32[np.ndarray, " 8"]:
        """The emotion as methods take it: probability times intensity; neutral's entry is 0."""
        found = self.probabilities * np.float32(self.intensity)
        found[NEUTRAL] = 0.0
        return found


class EmotionReader:
    """The network with its variables; `digest` is of their file."""

    def __init__(
        self, network: EmotionConfig, variables: Mapping[str, Any], digest: str = ""
    ) -> None:
        self.config, self.digest = network, digest
        self._apply = HostNetwork(EmotionNetwork(network), **variables)

    def cache_key(self) -> str:
        """Name, version and the beginning of the weight file's checksum."""
        return f"{NAME}-v{VERSION}-{self.digest[:12]}"

    def read(
        self, blendshapes: Float[np.ndarray, "t 52"], valid: Bool[np.ndarray, " t"] | None = None
    ) -> Reading:
        """What the valid frames show together; `FaceTrack` has both arguments.

        Raises:
          ValueError: other than 52 scores a frame.
          FaceError: no valid frame.
        """
        logits, intensity = self._apply(statistics(blendshapes, valid)[None])
        likely = np.exp(logits[0] - logits[0].max())
        return Reading((likely / likely.sum()).astype(np.float32), float(intensity[0]))

    def classify(
        self, blendshapes: Float[np.ndarray, "t 52"], valid: Bool[np.ndarray, " t"] | None = None
    ) -> int:
        """The likeliest emotion, an index of `records.EMOTIONS`; else as `read`."""
        return self.read(blendshapes, valid).emotion

    def estimate(
        self, blendshapes: Float[np.ndarray, "t 52"], valid: Bool[np.ndarray, " t"] | None = None
    ) -> Float32[np.ndarray, " 8"]:
        """The emotion vector, zeros for a neutral face (`Reading.vector`); else as `read`."""
        return self.read(blendshapes, valid).vector


def read_weights(path: str | os.PathLike[str]) -> tuple[EmotionConfig, dict[str, Any]]:
    """Sizes and variables ("params" and "constants", nested dicts) of a file of `write_weights`.

    Raises:
      WeightsError: the file is missing, damaged or of something else.
    """
    from flax import traverse_util
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            network = config.build(EmotionConfig, json.loads(metadata["config"]))
            names = list(file.keys())
            flat = {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, ConfigError) as error:
        raise WeightsError(f"{path} holds no weights of {NAME} ({error}); {_REMEDY}") from error
    variables = traverse_util.unflatten_dict(flat, sep="/")
    _check_shapes(path, network, variables)
    return network, variables


def _check_shapes(path: Any, network: EmotionConfig, variables: Mapping[str, Any]) -> None:
    import jax

    given = jax.ShapeDtypeStruct((1, network.features), np.float32)
    made = jax.eval_shape(EmotionNetwork(network).init, jax.random.key(0), given)
    fits = jax.tree.map(np.shape, made) == jax.tree.map(np.shape, dict(variables))
    if not fits or network.features != STATISTICS or network.classes != len(EMOTIONS):
        raise WeightsError(f"{path} holds weights that do not fit the sizes it names; {_REMEDY}")


def write_weights(path: pathlib.Path, network: EmotionConfig, variables: Mapping[str, Any]) -> str:
    """Writes the variables as float32, whole or not at all; returns the file's SHA-256.

    Args:
      path: the safetensors file.
      network: its sizes, which go into the file.
      variables: "params" and "constants", nested dicts of arrays.

    Raises:
      WeightsError: the file cannot be written.
    """
    from flax import traverse_util

    flat = {
        name: np.asarray(value, np.float32)
        for name, value in traverse_util.flatten_dict(dict(variables), sep="/").items()
    }
    sizes = json.dumps(dataclasses.asdict(network), sort_keys=True)
    write_safetensors(path, flat, {"config": sizes})
    return file_sha256(path)


@functools.cache
def load() -> EmotionReader:
    """The packaged reader.

    Raises:
      WeightsError: its file is missing or altered.
    """
    asset = importlib.resources.files("talkface_jax.assets").joinpath(ASSET)
    with importlib.resources.as_file(asset) as path:
        network, variables = read_weights(path)
        digest = file_sha256(path)
    if digest != SHA256:
        raise WeightsError(f"{ASSET} of the package was altered (sha256 {digest}); {_REMEDY}")
    return EmotionReader(network, variables, digest)
