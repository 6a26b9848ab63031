"""Parity cases: what a public PyTorch network answered, and how our answer is compared with it.

A case is a folder. `manifest.json` names the keys and shapes of every network's state_dict and,
under `_note`, the seed and the scales by which `interop.fill` makes the weights; the other files
hold inputs and outputs in PyTorch's layouts. What a method compares is its suite: the names of the
files that it knows, each with a function that yields one `Check` per tensor.
"""

import dataclasses
import json
import math
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.interop import fill

MANIFEST = "manifest.json"
_NOTE = "_note"
_REMEDY = "copy the case again, or leave the file out"

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
class Report:
    """All checks of a case, and the files of the suite that it does not hold."""

    checks: tuple[Check, ...]
    absent: tuple[str, ...]

    @property
    def over(self) -> tuple[Check, ...]:
        """The checks that fail."""
        return tuple(check for check in self.checks if not check.ok)


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

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise RecordError(f"{self.folder / name} {what}; {_REMEDY}")

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

    def _npz(self, name: str, keys: list[str]) -> dict[str, np.ndarray]:
        try:
            # NumPy leaves a file that it opened and cannot read open.
            with (self.folder / name).open("rb") as stream:
                file = np.load(stream, allow_pickle=False)
                if not isinstance(file, np.lib.npyio.NpzFile):
                    self._refuse(name, "is one array, not an .npz of several")
                return {key: file[key] for key in keys if key in file.files}
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
            if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
                self._refuse(MANIFEST, f"gives {network}'s {key} the shape {shape!r}")
        # Keys of different networks can coincide, so some cases keep scales by network.
        scales = self._scales.get(network, self._scales)
        if not isinstance(scales, dict) or not all(_is_scale(scales.get(key, 1)) for key in shapes):
            self._refuse(MANIFEST, f"gives {network} scales that are not {{key: positive number}}")
        return fill.state_dict(shapes, seed=self.seed, scales=scales)


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
            f" {_REMEDY}"
        )
    return Check(file, tensor, float(np.max(np.abs(ours - theirs))), tolerance)


Suite = Mapping[str, Callable[[Case], Iterable[Check]]]
"""File -> its checks, in the order in which they run."""


def run_suite(
    case: Case, suite: Suite, *, progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Runs the checks of every file that the case holds.

    In true float32: matrix products and convolutions in TF32 or bfloat16, which some devices take
    by default and no parity tolerance allows for, are off meanwhile
    (jax_default_matmul_precision = "highest").

    Args:
      case: the case.
      suite: of the method.
      progress: called as progress(what, files done, files in all).

    Raises:
      RecordError: the case holds none of the suite's files, or one that cannot be used.
      WeightsError: its state_dict is not this network's.
    """
    import jax

    present = [name for name in suite if case.has(name)]
    if not present:
        raise RecordError(
            f"{case.folder} holds none of {', '.join(suite)}; give the folder of a parity case of"
            " this method"
        )
    checks: list[Check] = []
    with jax.default_matmul_precision("highest"):
        for done, name in enumerate(present):
            if progress:
                progress("parity", done, len(present))
            checks += suite[name](case)
    if progress:
        progress("parity", len(present), len(present))
    return Report(tuple(checks), tuple(name for name in suite if name not in present))
