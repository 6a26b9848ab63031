"""Checkpoints of older layouts, read as today's.

Values computed from data lay among the batch statistics (`constants` now), and averages were of
parameters alone (`ema.<player>.params` and `.stats` now).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flax import traverse_util

from talkface_jax.task import Variables


def stored_names(wanted: Iterable[str], stored: set[str]) -> dict[str, str]:
    """Where the leaves of a state lie in a checkpoint, by name.

    A leaf that has no older place keeps its name, whether or not the checkpoint has it.
    """
    return {name: _stored_name(name, stored) for name in wanted}


def _stored_name(name: str, stored: set[str]) -> str:
    if name in stored:
        return name
    kind, _, rest = name.partition(".")
    player, _, path = rest.partition(".")
    part, _, leaf = path.partition(".")
    older = {
        ("nets", "constants"): f"nets.{player}.stats.{leaf}",
        ("ema", "params"): f"ema.{player}.{leaf}",
        # They were not averaged: those of the network itself are the nearest there is.
        ("ema", "stats"): f"nets.{player}.stats.{leaf}",
    }.get((kind, part), name)
    return older if older in stored else name


def averages_of_parameters_alone(names: Iterable[str], player: str) -> bool:
    """Whether a checkpoint keeps a player's averages in the older layout."""
    own = [name for name in names if name.startswith(f"ema.{player}.")]
    return bool(own) and not any(name.startswith(f"ema.{player}.params.") for name in own)


def with_constants(stored: Variables, wanted: Mapping[str, Any]) -> Variables:
    """A player's variables with its constants in their own collection.

    Args:
      stored: as they were read.
      wanted: variables of the network, or their shapes.
    """
    constants = traverse_util.flatten_dict(dict(stored.get("constants", {})))
    stats = traverse_util.flatten_dict(dict(stored.get("batch_stats", {})))
    missing = set(traverse_util.flatten_dict(dict(wanted.get("constants", {})))) - set(constants)
    moved = {path: stats.pop(path) for path in missing & set(stats)}
    if not moved:
        return stored
    found = {"batch_stats": stats, "constants": {**constants, **moved}}
    unflattened = {name: traverse_util.unflatten_dict(tree) for name, tree in found.items() if tree}
    return {"params": stored["params"], **unflattened}
