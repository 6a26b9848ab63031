"""Networks as serialized StableHLO programs that run on CPU, CUDA and TPU, weights as arguments.

A program takes (weights, state, inputs): weights by network (player or frozen) and by their path
with "/"; state and inputs by name, the state apart because its buffers are donated. Its symbolic
dimensions are single letters ("b" batch, "t" frames, "r" references), shared by all of them.
"""

import dataclasses
import re
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
      networks: whose weights it takes, players and frozen networks.
      data: serialized `jax.export.Exported`.
      state: inputs that come out again.
      inputs, outputs: name -> (dimensions, dtype name); a letter is a symbolic dimension.
    """

    name: str
    networks: tuple[str, ...]
    state: tuple[str, ...]
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
    """Traces one program for all platforms, on a machine that needs none of them but CPU.

    Raises:
      ValueError: state that does not come out as it goes in, variables of other networks than it
        takes, or an output with the batch inside of another dimension.
    """
    letters = sorted({d for dims, _ in program.inputs.values() for d in dims if isinstance(d, str)})
    symbols = dict(zip(letters, _symbols(letters), strict=True))
    inputs = {
        name: jax.ShapeDtypeStruct(tuple(symbols.get(d, d) for d in dims), dtype)  # type: ignore[arg-type]
        for name, (dims, dtype) in program.inputs.items()
    }
    networks = (*program.players, *program.frozen)
    shapes = program.variables()
    if set(shapes) != set(networks):
        raise ValueError(
            f"program {program.name} takes {sorted(networks)}, but has variables of "
            f"{sorted(shapes)}"
        )
    state = {name: inputs.pop(name) for name in program.state}
    weights = {
        network: {
            path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
            for path, leaf in flatten(tree).items()
        }
        for network, tree in shapes.items()
    }

    def function(
        weights: Weights, state: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        variables = {network: unflatten(flat) for network, flat in weights.items()}
        return dict(program.function(variables, {**state, **inputs}))

    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(weights, state, inputs)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    given = {name: _signature(value) for name, value in (state | inputs).items()}
    made = {name: _signature(value) for name, value in outputs.items()}
    _check_rows(program, made)
    for name in program.state:
        if made.get(name) != given[name]:
            raise ValueError(
                f"program {program.name}: state {name} goes in as {given[name]} and comes out as "
                f"{made.get(name)}"
            )
    return Exported(
        name=program.name,
        networks=networks,
        state=program.state,
        data=bytes(exported.serialize()),
        inputs=given,
        outputs=made,
    )


def computed_in(program: Program, compute: str) -> Program:
    """The program with the networks' arithmetic in another number format.

    Weights are given, and results come out, in float32 all the same; statistics of normalisations
    stay as they are.

    Args:
      program: any.
      compute: "float32", as it is, or "bfloat16".
    """
    if compute == "float32":
        return program

    def narrow(variables: Mapping[str, Any]) -> dict[str, Any]:
        cast = jax.tree.map(lambda leaf: leaf.astype(compute), variables.get("params", {}))
        return {**variables, "params": cast}

    def function(variables: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = program.function({net: narrow(tree) for net, tree in variables.items()}, inputs)
        return {
            name: value.astype(np.float32) if value.dtype == compute else value
            for name, value in made.items()
        }

    return dataclasses.replace(program, function=function)


def _check_rows(program: Program, outputs: Mapping[str, tuple[tuple[int | str, ...], str]]) -> None:
    """What has the batch within another dimension could not be cut to the rows that were asked."""
    for name, (dims, _) in outputs.items():
        if mixed := [d for d in dims if isinstance(d, str) and d != BATCH and _names_batch(d)]:
            raise ValueError(
                f"program {program.name}: output {name} has the batch within {mixed}; give it a "
                f"dimension {BATCH!r} of its own"
            )


def _names_batch(dim: str) -> bool:
    return BATCH in re.findall(r"[A-Za-z_]+", dim)


def check_weights(program: Program, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares the weights with the shapes that the program expects.

    Raises:
      WeightsError: a network without weights, or a missing or additional array, or one of another
        shape or type, by name.
    """
    for network, expected in program.variables().items():
        if network not in variables:
            raise WeightsError(f"no weights of {network} were given; export a checkpoint of it")
        check_network(network, flatten(expected), flatten(variables[network]))


def check_network(network: str, expected: Weights, given: Weights) -> None:
    """Compares the weights of one network, by path, with what is expected.

    Raises:
      WeightsError: as `check_weights`.
    """
    for path in sorted({*expected, *given}):
        if path not in given:
            problem = "is missing"
        elif path not in expected:
            problem = "has no place in the network"
        elif given[path].shape != expected[path].shape:
            problem = f"has shape {given[path].shape}, not {expected[path].shape}"
        elif given[path].dtype != expected[path].dtype:
            problem = f"is {given[path].dtype}, not {expected[path].dtype}"
        elif not np.isfinite(np.asarray(given[path])).all():
            problem = "holds NaN or infinity"
        else:
            continue
        raise WeightsError(
            f"weights of {network}: {path} {problem}; export the checkpoint with the config "
            "that it was trained with"
        )


def _symbols(letters: list[str]) -> tuple[Any, ...]:
    return tuple(jax.export.symbolic_shape(", ".join(letters))) if letters else ()


def _signature(value: Any) -> tuple[tuple[int | str, ...], str]:
    dims = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
    return dims, np.dtype(value.dtype).name
