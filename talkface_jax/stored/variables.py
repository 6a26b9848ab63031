"""What lies in a working directory: its checkpoints, and the variables in one of them."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from talkface_jax.config import TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.stored import legacy
from talkface_jax.stored.integrity import explain_damage, read_document, verify
from talkface_jax.stored.quiet import quiet_unless_well
from talkface_jax.task import Variables

FOLDER = "checkpoints"
DATA = "data"
"""Key of the data position in a checkpoint's info: what makes a resume possible."""


def checkpoint_steps(directory: pathlib.Path) -> list[int]:
    """Steps of the whole checkpoints in a folder, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def choose_step(workdir: pathlib.Path, config: TrainConfig) -> int:
    """The step of the best checkpoint by `best_metric`, or else of the latest.

    Raises:
      CheckpointError: there is none.
    """
    directory = workdir / FOLDER
    steps = checkpoint_steps(directory)
    if not steps:
        raise CheckpointError(
            f"{workdir} holds no checkpoint; train there first (talkface train --workdir={workdir})"
        )
    if not config.best_metric:
        return steps[-1]
    judged = {
        step: metrics[config.best_metric]
        for step in steps
        if config.best_metric
        in (metrics := read_document(directory / str(step))["info"]["metrics"])
    }
    if not judged:
        return steps[-1]
    pick = min if config.best_mode == "min" else max
    return pick(judged, key=lambda step: judged[step])


def load_params(
    workdir: pathlib.Path, players: Sequence[str] | None = None, *, step: int | None = None
) -> tuple[dict[str, Variables], dict[str, Any]]:
    """The variables of some players, on the host, without the optimisers' state.

    Args:
      workdir: a directory that training wrote.
      players: names of players; None for all that the checkpoint holds.
      step: which checkpoint; by default the best by the run's `best_metric`, or else the latest.

    Returns:
      Variables by player (averages where the run keeps them), and the checkpoint's info
      with `checkpoint` (its path) and `averaged` (players that are averages) added.

    Raises:
      CheckpointError: no checkpoint, a damaged one, or one without such a player.
    """
    if step is None:
        step = choose_step(workdir, _stored_train_config(workdir))
    path = (workdir / FOLDER / str(step)).resolve()
    if not path.is_dir():
        known = ", ".join(map(str, checkpoint_steps(path.parent))) or "none"
        raise CheckpointError(f"{path} does not exist; checkpoints there: {known}")
    document = read_document(path)
    names = sorted(document["crc32c"])
    stored = _players(names)
    players = stored if players is None else players
    for player in players:
        if player not in stored:
            raise CheckpointError(
                f"{path} has no player {player!r}, it has: {', '.join(stored)}; give a directory "
                "that holds it"
            )
    prefixes, averaged = _variable_prefixes(names, players)
    wanted = [name for name in names if any(name.startswith(item) for item in prefixes)]
    leaves = _read_leaves(path, wanted)
    verify(leaves, document["crc32c"], path)
    variables: dict[str, Any] = {player: {"params": {}} for player in players}
    for name, leaf in leaves.items():
        prefix = next(item for item in prefixes if name.startswith(item))
        player, collection = prefixes[prefix]
        node = variables[player].setdefault(collection, {})
        *parents, last = name.removeprefix(prefix).split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return variables, {**document["info"], "checkpoint": str(path), "averaged": averaged}


def stored_players(workdir: pathlib.Path) -> list[str]:
    """Names of the players that the checkpoint which `load_params` would read holds.

    Raises:
      CheckpointError: no checkpoint, or a damaged one.
    """
    step = choose_step(workdir, _stored_train_config(workdir))
    return _players(read_document(workdir / FOLDER / str(step))["crc32c"])


def _players(names: Iterable[str]) -> list[str]:
    return sorted({name.split(".")[1] for name in names if name.startswith("nets.")})


def _stored_train_config(workdir: pathlib.Path) -> TrainConfig:
    try:
        stored = json.loads((workdir / "config.json").read_text())["train"]
        return TrainConfig(best_metric=stored["best_metric"], best_mode=stored["best_mode"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{workdir / 'config.json'} is of no stage; point at a directory that training wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{workdir / 'config.json'} is missing or damaged; "
            "point at a directory that training wrote"
        ) from error


def _variable_prefixes(
    names: Sequence[str], players: Sequence[str]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Name prefix -> (player, collection), and the players whose averages are taken."""
    prefixes: dict[str, tuple[str, str]] = {}
    averaged = []
    for player in players:
        params, stats = f"nets.{player}.params.", f"nets.{player}.stats."
        if any(name.startswith(f"ema.{player}.") for name in names):
            older = legacy.averages_of_parameters_alone(names, player)
            params = f"ema.{player}." if older else f"ema.{player}.params."
            stats = stats if older else f"ema.{player}.stats."
            averaged.append(player)
        prefixes[params] = (player, "params")
        prefixes[stats] = (player, "batch_stats")
        prefixes[f"nets.{player}.constants."] = (player, "constants")
    return prefixes, averaged


def _read_leaves(path: pathlib.Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    with quiet_unless_well(), explain_damage(path):
        # The handler itself: a Checkpointer around it would miss metadata that only steps have.
        handler = ocp.PyTreeCheckpointHandler()
        folder: Any = path / "state"
        stored = handler.metadata(folder).tree
        return handler.restore(
            folder,
            args=ocp.args.PyTreeRestore(
                item={name: stored[name] for name in names},
                restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names},
                partial_restore=True,
            ),
        )
