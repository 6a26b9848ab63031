"""Speech content by a small recogniser with DeepSpeech's interface: 29 character logits, 50 Hz.

The network (`models.frozen.ctc`) was trained on synthesised speech (assets/ctc29.md). Row i is
about samples 320 i to 320 i + 320; it hears 0.4 s to either side, and silence beyond the ends.
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
from jaxtyping import Float, Float32

from talkface_jax import config
from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.features import alphabet
from talkface_jax.features.host import HostNetwork
from talkface_jax.features.spectra import power_rows, slaney_bank
from talkface_jax.interop.torch_file import file_sha256
from talkface_jax.interop.torch_rules import write_safetensors
from talkface_jax.models.frozen.ctc import ROWS_OF_STEP, CtcConfig, CtcNetwork
from talkface_jax.records import AUDIO_RATE

NAME = "ctc29"
VERSION = 1
ASSET = "ctc29.safetensors"
ROW_SAMPLES = 320
PIECE_ROWS = 280
"""Rows that are computed at once: a segment of 5 s with its context takes one piece."""
_WINDOW, _HOP = 400, 160
_LOW, _HIGH = 60.0, 7600.0
# A window is centred on its hop of 160 samples.
_BEFORE = (_WINDOW - _HOP) // 2
_FLOOR = np.float32(1e-8)
_SILENCE = np.float32(-2.5)


def log_mel(samples: Float[np.ndarray, " s"], *, bands: int = 48) -> Float32[np.ndarray, "2m b"]:
    """What the network is fed: two rows for each 320 samples of 16 kHz sound, begun ones included.

    Decadic logarithm of the power in Slaney mel bands (25 ms Hann windows, silence beyond the
    ends), mapped so that speech lies around 0 and digital silence at -2.5.
    """
    rows = 2 * -(-len(samples) // ROW_SAMPLES)
    padded = np.zeros((rows - 1) * _HOP + _WINDOW, np.float32)
    padded[_BEFORE : _BEFORE + len(samples)] = samples
    power = power_rows(padded, window=_WINDOW, hop=_HOP, rows=rows)
    bank = slaney_bank(rate=AUDIO_RATE, size=_WINDOW, bands=bands, low=_LOW, high=_HIGH)
    levels = np.log10(np.maximum(power @ bank.T, _FLOOR))
    return np.maximum((levels + 3) * np.float32(0.5), _SILENCE)


class Recogniser:
    """The network with its weights; `digest` is of their file."""

    def __init__(self, network: CtcConfig, params: Mapping[str, Any], digest: str) -> None:
        self.config, self.digest = network, digest
        self._apply = HostNetwork(CtcNetwork(network), params)

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "m 29"]:
        """Logits, in pieces of one size that overlap by the network's reach: no joint shows."""
        beside = self.config.reach * ROWS_OF_STEP
        mel = log_mel(samples, bands=self.config.bands)
        count = len(mel) // 2
        beyond = -count % PIECE_ROWS
        mel = np.pad(mel, ((2 * beside, 2 * (beside + beyond)), (0, 0)), constant_values=_SILENCE)
        rows = np.empty((count + beyond, self.config.classes), np.float32)
        for first in range(0, count, PIECE_ROWS):
            piece = mel[None, 2 * first : 2 * (first + PIECE_ROWS + 2 * beside)]
            rows[first : first + PIECE_ROWS] = self._apply(piece)[0, beside:-beside]
        return rows[:count]


def read_weights(path: str | os.PathLike[str]) -> tuple[CtcConfig, dict[str, Any]]:
    """Sizes and parameters (float32, as nested dicts) of a file of `write_weights`.

    Raises:
      WeightsError: the file is missing, damaged or of something else.
    """
    from flax import traverse_util
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            network = config.build(CtcConfig, json.loads(metadata["config"]))
            names = list(file.keys())
            flat = {name: file.get_tensor(name).astype(np.float32) for name in names}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, ConfigError) as error:
        raise WeightsError(
            f"{path} holds no weights of {NAME} ({error}); install the package again or write the "
            "file anew with talkface pack"
        ) from error
    params = traverse_util.unflatten_dict(flat, sep="/")
    _check_shapes(path, network, params)
    return network, params


def _check_shapes(path: Any, network: CtcConfig, params: Mapping[str, Any]) -> None:
    import jax

    mel = jax.ShapeDtypeStruct((1, 4, network.bands), np.float32)
    made = jax.eval_shape(CtcNetwork(network).init, jax.random.key(0), mel)["params"]
    if jax.tree.map(np.shape, made) != jax.tree.map(np.shape, dict(params)):
        raise WeightsError(
            f"{path} holds weights that do not fit the sizes it names; install the package again "
            "or write the file anew with talkface pack"
        )


def write_weights(
    path: pathlib.Path,
    network: CtcConfig,
    params: Mapping[str, Any],
) -> str:
    """Writes the parameters as float16, whole or not at all; returns the file's SHA-256.

    Args:
      path: the safetensors file.
      network: its sizes, which go into the file.
      params: nested dicts of arrays.

    Raises:
      WeightsError: the file cannot be written.
    """
    from flax import traverse_util

    flat = {
        name: np.asarray(value, np.float16)
        for name, value in traverse_util.flatten_dict(dict(params), sep="/").items()
    }
    sizes = json.dumps(dataclasses.asdict(network), sort_keys=True)
    # One entry alone: several would be stored in any order, and the checksum would change.
    write_safetensors(path, flat, {"config": sizes})
    return file_sha256(path)


@functools.cache
def _recogniser() -> Recogniser:
    asset = importlib.resources.files("talkface_jax.assets").joinpath(ASSET)
    with importlib.resources.as_file(asset) as path:
        network, params = read_weights(path)
        digest = file_sha256(path)
    return Recogniser(network, params, digest)


@dataclasses.dataclass(frozen=True)
class Ctc29Feature:
    """The feature; light, so that it may be sent to reader processes, which load the network."""

    name: str = NAME
    version: int = VERSION
    size: int = alphabet.SIZE

    def cache_key(self) -> str:
        """Name, version and the beginning of the weight file's checksum."""
        return f"{self.name}-v{self.version}-{_recogniser().digest[:12]}"

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "m 29"]:
        """Rows of 16 kHz mono samples in [-1, 1]: row i is about samples 320 i to 320 i + 320."""
        return _recogniser()(np.asarray(samples, np.float32))


def load() -> Ctc29Feature:
    """The feature, its network ready.

    Raises:
      WeightsError: the file with the weights is missing or damaged.
    """
    _recogniser()
    return Ctc29Feature()
