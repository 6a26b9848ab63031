"""Networks as serialized StableHLO programs that run on CPU, CUDA and TPU, weights as arguments.

A program takes (weights, inputs): two flat dicts of arrays, weights named by their path with "/".
Its symbolic dimensions are single letters ("b" batch, "r" references), shared by all inputs of a
program.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.export
import numpy as np
from flax import traverse_util

from talkface_jax.errors import WeightsError
from talkface_jax.task import Program

PLATFORMS = ("cpu", "cuda", "tpu")
BATCH = "b"

Weights = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Exported:
    """One program as bytes, with what its caller must know.

    Attributes:
      name: program name.
      player: whose weights it takes.
      data: serialized `jax.export.Exported`.
      inputs, outputs: name -> (dimensions, dtype name); a letter is a symbolic dimension.
    """

    name: str
    player: str
    data: bytes
    inputs: Mapping[str, tuple[tuple[int | str, ...], str]]
    outputs: Mapping[str, tuple[tuple[int | str, ...], str]]


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Nested variables as one dict, paths joined by "/"."""
    return traverse_util.flatten_dict(dict(variables), sep="/")


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`; names without "/" stay leaves."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def export_program(program: Program) -> Exported:
    """Traces one program for all platforms, on a machine that needs none of them but CPU."""
    letters = sorted({d for dims, _ in program.inputs.values() for d in dims if isinstance(d, str)})
    symbols = dict(zip(letters, _symbols(letters), strict=True))
    inputs = {
        name: jax.ShapeDtypeStruct(tuple(symbols.get(d, d) for d in dims), dtype)  # type: ignore[arg-type]
        for name, (dims, dtype) in program.inputs.items()
    }
    weights = {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for path, leaf in flatten(program.variables()).items()
    }

    def function(weights: Weights, inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return dict(program.function(unflatten(weights), inputs))

    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(weights, inputs)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return Exported(
        name=program.name,
        player=program.player,
        data=bytes(exported.serialize()),
        inputs={name: _signature(value) for name, value in inputs.items()},
        outputs={name: _signature(value) for name, value in outputs.items()},
    )


def check_weights(program: Program, variables: Mapping[str, Any]) -> None:
    """Compares the weights with the shapes that the program expects.

    Raises:
      WeightsError: a missing, additional or differently shaped array, by name.
    """
    expected, given = flatten(program.variables()), flatten(variables)
    for path in sorted({*expected, *given}):
        if path not in given:
            problem = "is missing"
        elif path not in expected:
            problem = "has no place in the network"
        elif given[path].shape != expected[path].shape:
            problem = f"has shape {given[path].shape}, not {expected[path].shape}"
        elif not np.isfinite(np.asarray(given[path])).all():
            problem = "holds NaN or infinity"
        else:
            continue
        raise WeightsError(
            f"weights of {program.player}: {path} {problem}; export the checkpoint with the config "
            "that it was trained with"
        )


def _symbols(letters: list[str]) -> tuple[Any, ...]:
    return tuple(jax.export.symbolic_shape(", ".join(letters))) if letters else ()


def _signature(value: Any) -> tuple[tuple[int | str, ...], str]:
    dims = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
    return dims, np.dtype(value.dtype).name
