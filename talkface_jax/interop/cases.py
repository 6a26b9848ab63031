"""Parity cases: what a public PyTorch network answered, and how our answer is compared with it.

A case is a folder. `manifest.json` names the keys and shapes of every network's state_dict and,
under `_note`, the seed and the scales by which `interop.fill` makes the weights; the other files
hold inputs and outputs in PyTorch's layouts. `_note` may also say which tensors of a state_dict are
stored all the same (`stored`), which inputs are made as weights are (`made_inputs`), and of which
outputs only every n-th number is stored (`strides`). What is compared are suites (`suites.py`).
"""

import dataclasses
import json
import math
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.interop import fill

MANIFEST = "manifest.json"
_NOTE = "_note"
MOMENTS = "_mean_std"
REMEDY = "copy the case again, or leave the file out"
_MOST = 2**28
"""Numbers of one tensor; a manifest that asks for more is damaged, and would fill the memory."""

Shape = tuple[int | str, ...]
"""Sizes, letters that stand for any size, the same one throughout a file, or products ("b*t")."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One tensor, compared.

    Attributes:
      file: of the case.
      tensor: its name there.
      error: largest difference, in `unit`; NaN where ours or theirs is not a number.
      tolerance: the largest error that passes.
      unit: what error and tolerance count; empty: the tensor's own unit.
    """

    file: str
    tensor: str
    error: float
    tolerance: float
    unit: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Output:
    """What a case holds of one output.

    Attributes:
      array: all of it, or every n-th number along its axes.
      strides: these n, or None.
      moments: mean and deviation of all of it, where there are strides.
    """

    array: np.ndarray
    strides: tuple[int, ...] | None = None
    moments: np.ndarray | None = None


class Case:
    """A folder of one case; files are read when asked for.

    Attributes:
      folder: where it lies.
      seed: of the weights.

    Raises:
      RecordError: no such folder, or no manifest in it that could be used.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Reads the manifest."""
        self.folder = folder
        if not folder.is_dir():
            raise RecordError(f"{folder} is not a folder; give the folder of a parity case")
        if not (folder / MANIFEST).is_file():
            raise RecordError(f"{folder} has no {MANIFEST}; give the folder of a parity case")
        self._manifest = self._json(MANIFEST)
        note = self._manifest.get(_NOTE)
        seed = note.get("seed") if isinstance(note, dict) else None
        if not isinstance(note, dict) or type(seed) is not int or seed < 0:
            self._refuse(MANIFEST, f"has no {_NOTE}.seed that is a whole number of at least 0")
        scales = note.get("scales", {})
        if not isinstance(scales, dict):
            self._refuse(MANIFEST, f"has {_NOTE}.scales that are not {{key: number}}")
        self.seed: int = seed
        self._scales: dict[str, Any] = scales
        self._note: dict[str, Any] = note

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise RecordError(f"{self.folder / name} {what}; {REMEDY}")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads((self.folder / name).read_text())
        except (OSError, ValueError, RecursionError) as error:
            self._refuse(name, f"cannot be read as JSON ({error})")
        if not isinstance(values, dict):
            self._refuse(name, "is not a JSON object")
        return values

    def has(self, name: str) -> bool:
        """Whether the case holds that file."""
        return (self.folder / name).is_file()

    def numbers(self, name: str) -> dict[str, float]:
        """A JSON file of {key: number}.

        Raises:
          RecordError: damaged, or it holds anything else.
        """
        values = self._json(name)
        for key, value in values.items():
            if type(value) not in (int, float):
                self._refuse(name, f"holds {value!r} for {key}, which is not a number")
        return {key: float(value) for key, value in values.items()}

    def arrays(
        self, name: str, shapes: Mapping[str, Shape], *, optional: Mapping[str, Shape] | None = None
    ) -> dict[str, np.ndarray]:
        """The named arrays of an .npz file; others in it are left alone.

        Args:
          name: of the file.
          shapes: the arrays that it must hold.
          optional: arrays that it may hold, which are left out of the result where it does not.

        Raises:
          RecordError: the file is damaged, lacks an array, or holds one that is not of numbers or
          not of its shape.
        """
        stored = self._npz(name, [*shapes, *(optional or {})])
        missing = [key for key in shapes if key not in stored]
        if missing:
            self._refuse(name, f"holds no array {', '.join(missing)}")
        sizes: dict[str, int] = {}
        for key, shape in [*shapes.items(), *(optional or {}).items()]:
            if key in stored and stored[key].dtype.kind not in "biuf":
                self._refuse(name, f"holds {key} as {stored[key].dtype}, which is not numbers")
            if key in stored and not _fits(stored[key].shape, shape, sizes):
                wanted = ", ".join(map(str, shape))
                known = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
                where = f" with {known}" if known else ""
                self._refuse(
                    name, f"holds {key} of shape {stored[key].shape}, not ({wanted}){where}"
                )
        return stored

    def _npz(self, name: str, keys: list[str] | None) -> dict[str, np.ndarray]:
        """The named arrays of a file that are there, by default all."""
        try:
            # NumPy leaves a file that it opened and cannot read open.
            with (self.folder / name).open("rb") as stream:
                file = np.load(stream, allow_pickle=False)
                if not isinstance(file, np.lib.npyio.NpzFile):
                    self._refuse(name, "is one array, not an .npz of several")
                wanted = file.files if keys is None else [key for key in keys if key in file.files]
                return {key: file[key] for key in wanted}
        except (
            *(OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError),
            *(RuntimeError, zipfile.BadZipFile, zlib.error),
        ) as error:
            self._refuse(name, f"is damaged or no .npz ({error})")

    def state_dict(self, network: str) -> dict[str, np.ndarray]:
        """The weights that the network was filled with when the case was made.

        Raises:
          RecordError: the manifest has no such network, or its shapes are not lists of sizes.
        """
        shapes = self._manifest.get(network)
        if not isinstance(shapes, dict) or not shapes:
            self._refuse(MANIFEST, f"names no keys and shapes of {network}")
        for key, shape in shapes.items():
            if not _is_shape(shape):
                self._refuse(MANIFEST, f"gives {network}'s {key} the shape {shape!r}")
        # Keys of different networks can coincide, so some cases keep scales by network.
        scales = self._scales.get(network, self._scales)
        if not isinstance(scales, dict) or not all(_is_scale(scales.get(key, 1)) for key in shapes):
            self._refuse(MANIFEST, f"gives {network} scales that are not {{key: positive number}}")
        return fill.state_dict(shapes, seed=self.seed, scales=scales) | self._stored(network)

    def _stored(self, network: str) -> dict[str, np.ndarray]:
        """The tensors of a state_dict that the case keeps in files."""
        found: dict[str, np.ndarray] = {}
        for name, shapes in self._about("stored", network).items():
            if not isinstance(shapes, dict) or not all(map(_is_shape, shapes.values())):
                self._refuse(MANIFEST, f"has {_NOTE}.stored of {network} without keys and shapes")
            if pathlib.PurePath(name).name != name or not self.has(name):
                self._refuse(MANIFEST, f"keeps tensors of {network} in {name!r}, no file beside it")
            found |= self.arrays(name, {key: tuple(shape) for key, shape in shapes.items()})
        return found

    def _about(self, what: str, name: str) -> dict[str, Any]:
        """What the note says of a file or a network under one of its headings."""
        about: Any = self._note
        for key in (what, name):
            about = about.get(key, {})
            if not isinstance(about, dict):
                self._refuse(MANIFEST, f"has {_NOTE}.{what} of another form than {{name: {{…}}}}")
        return about

    def made_input(self, name: str, array: str, shape: Shape) -> np.ndarray:
        """An input of a file that is not stored but made as weights are.

        Args:
          name: of the file.
          array: the input.
          shape: that it must have.

        Raises:
          RecordError: the manifest does not say how, or gives it another shape.
        """
        made = self._about("made_inputs", _stem(name)).get(array)
        if not isinstance(made, dict) or not isinstance(made.get("key"), str):
            self._refuse(MANIFEST, f"does not say how {array} of {name} is made")
        found, scale = made.get("shape"), made.get("scale")
        if (
            not isinstance(found, list)
            or not _is_shape(found)
            or not _fits(tuple(found), shape, {})
        ):
            wanted = ", ".join(map(str, shape))
            self._refuse(MANIFEST, f"gives {array} of {name} the shape {found!r}, not ({wanted})")
        if not _is_scale(scale):
            self._refuse(MANIFEST, f"gives {array} of {name} a scale that is no positive number")
        return fill.tensor(made["key"], tuple(found), seed=self.seed, scale=scale)

    def outputs(self, name: str) -> dict[str, Output]:
        """All arrays of an .npz file but its inputs (`in_…`), as they are stored.

        Raises:
          RecordError: the file is damaged, or strides in the manifest are no sizes.
        """
        stored = self._npz(name, None)
        strides = self._about("strides", _stem(name))
        found = {}
        for key in stored:
            if key.startswith("in_") or key.endswith(MOMENTS):
                continue
            array, moments = self._numbers(name, stored, key), None
            stride = strides.get(key)
            if stride is not None:
                if not _is_shape(stride) or len(stride) != array.ndim:
                    self._refuse(MANIFEST, f"gives {key} of {name} the strides {stride!r}")
                moments = self._numbers(name, stored, key + MOMENTS)
                if moments.shape != (2,):
                    self._refuse(name, f"holds no mean and deviation of {key}")
            found[key] = Output(array, None if stride is None else tuple(stride), moments)
        return found

    def _numbers(self, name: str, stored: Mapping[str, np.ndarray], key: str) -> np.ndarray:
        if key not in stored:
            self._refuse(name, f"holds no array {key}")
        if stored[key].dtype.kind not in "biuf":
            self._refuse(name, f"holds {key} as {stored[key].dtype}, which is not numbers")
        if not stored[key].size:
            self._refuse(name, f"holds {key} without numbers")
        return stored[key]


def _stem(name: str) -> str:
    """A file's name in the manifest."""
    return name.removesuffix(".npz")


def _is_shape(value: Any) -> bool:
    """Whether it is a list of sizes that fit into memory together."""
    sizes = isinstance(value, list) and all(type(n) is int and n > 0 for n in value)
    return sizes and math.prod(value) <= _MOST


def _is_scale(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _fits(found: tuple[int, ...], wanted: Shape, sizes: dict[str, int]) -> bool:
    """Whether a shape is the wanted one; letters met for the first time are noted in `sizes`."""
    if len(found) != len(wanted) or 0 in found:
        return False
    for size, name in zip(found, wanted, strict=True):
        if isinstance(name, int):
            expected = name
        elif "*" in name:
            expected = math.prod(sizes[letter] for letter in name.split("*"))
        else:
            expected = sizes.setdefault(name, size)
        if size != expected:
            return False
    return True


def compare(file: str, tensor: str, found: Any, expected: np.ndarray, *, tolerance: float) -> Check:
    """The largest absolute difference between two arrays, in float64.

    Raises:
      RecordError: the stored output's shape is not what its stored inputs give.
    """
    ours, theirs = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if ours.shape != theirs.shape:
        raise RecordError(
            f"{file} holds {tensor} of shape {theirs.shape}, but its inputs give {ours.shape};"
            f" {REMEDY}"
        )
    return Check(file, tensor, float(np.max(np.abs(ours - theirs))), tolerance)
