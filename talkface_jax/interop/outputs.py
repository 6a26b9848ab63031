"""Our outputs against all that a parity case holds of the official ones."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.interop.cases import MANIFEST, MOMENTS, REMEDY, Case, Check, compare

SHARE = 1e-3
"""Tolerance of an output without one of its own, over the deviation of its numbers."""


def compare_outputs(
    case: Case, file: str, found: Mapping[str, Any], *, tolerances: Mapping[str, float]
) -> Iterator[Check]:
    """One check for every output that the file holds, and one for its mean and deviation.

    Where the case stores every n-th number, ours are taken likewise.

    Args:
      case: the case.
      file: its .npz file.
      found: our outputs in PyTorch's layouts, exactly those that the file must hold.
      tolerances: absolute, by output; the others may differ by `SHARE` of their deviation.

    Raises:
      RecordError: an output that the file lacks, or one that is not known or of another shape.
    """
    stored = case.outputs(file)
    for name in sorted(stored.keys() ^ found.keys()):
        what = "lacks" if name in found else "holds an unknown output,"
        raise RecordError(f"{case.folder / file} {what} {name}; {REMEDY}")
    for name, output in stored.items():
        ours = np.asarray(found[name], np.float64)
        moments = output.moments
        deviation = output.array.std() if moments is None else moments[1]
        tolerance = tolerances.get(name, SHARE * float(deviation))
        if output.strides is not None:
            if len(output.strides) != ours.ndim:
                raise RecordError(
                    f"{case.folder / MANIFEST} gives {name} of {file} strides of"
                    f" {len(output.strides)} axes, but it has {ours.ndim}; {REMEDY}"
                )
            part = ours[tuple(slice(None, None, step) for step in output.strides)]
        else:
            part = ours
        yield compare(file, name, part, output.array, tolerance=tolerance)
        if moments is not None:
            whole = [ours.mean(), ours.std()]
            yield compare(file, name + MOMENTS, whole, moments, tolerance=tolerance)
