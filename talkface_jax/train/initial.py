"""Parameters that were not drawn at random: converted weights, and runs that start from others.

`write_variables` makes a directory that holds variables only; `load_initial` and `start_state` let
a run start from such a directory, or from one that training wrote. `fit_initial` lets it start from
values that the task computes from the training data.
"""

import dataclasses
import logging
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.config import ExperimentConfig, TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.stored import legacy
from talkface_jax.stored.integrity import digest, read_document
from talkface_jax.task import Averages, Net, Task, TrainState, Variables
from talkface_jax.train import sharding
from talkface_jax.train.checkpoint import DATA, FOLDER, Checkpoints, checkpoint_steps, load_params
from talkface_jax.train.programs import Programs
from talkface_jax.train.source import Source
from talkface_jax.train.state import leaf_names
from talkface_jax.train.workdir import prepare_workdir

FIT_SAMPLES = 2048
"""Training samples that `Task.fitted` may look at."""
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Initial:
    """What a run starts from instead of fresh parameters.

    Attributes:
      variables: host arrays by player, {"params": …, "batch_stats": …, "constants": …}.
      lineage: one entry for each directory, plain JSON: where it lies, which players, the sha256 of
        their weights, and the lineage that came with them (data, terms).
      fitted: as `variables`, for some leaves of other players only (`Task.fitted`).
    """

    variables: Mapping[str, Variables] = dataclasses.field(default_factory=dict)
    lineage: Sequence[Mapping[str, Any]] = ()
    fitted: Mapping[str, Variables] = dataclasses.field(default_factory=dict)


def check_target(out: pathlib.Path) -> None:
    """Refuses to write variables where anything lies.

    Raises:
      CheckpointError: `out` is a file or a folder that is not empty.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CheckpointError(f"{out} exists and is not empty; choose another --out or move it")


def write_variables(
    out: pathlib.Path,
    experiment: ExperimentConfig,
    variables: Mapping[str, Variables],
    info: Mapping[str, Any],
) -> None:
    """Makes a directory with a config and a checkpoint that holds variables only.

    It appears by a rename once it is whole.

    Args:
      out: the directory to make; it may exist if it is empty.
      experiment: becomes its config.json.
      variables: by player, {"params": …, "batch_stats": …}.
      info: plain JSON values (method, stage, lineage, versions).

    Raises:
      CheckpointError: something lies at `out`, or it cannot be written; nothing is left then.
    """
    check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    parent = out.parent.resolve()
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
    try:
        prepare_workdir(temporary, experiment)
        # Not the config's: nothing is kept or judged here.
        with Checkpoints(temporary, TrainConfig()) as checkpoints:
            checkpoints.save_variables(variables, info)
        temporary.chmod(0o755)
        temporary.rename(out)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(temporary), str(out))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_resumable(workdir: pathlib.Path) -> None:
    """Refuses to go on in a directory that `write_variables` made.

    Raises:
      CheckpointError: its newest checkpoint holds variables only, or is damaged.
    """
    steps = checkpoint_steps(workdir / FOLDER)
    if steps and DATA not in read_document(workdir / FOLDER / str(steps[-1]))["info"]:
        raise CheckpointError(
            f"{workdir} holds converted weights, not a run that can go on; give another --workdir "
            f"and --init-from={workdir}"
        )


def load_initial(task: Task, directories: Sequence[str], shapes: TrainState) -> Initial:
    """Reads every player of the task that the directories hold.

    Args:
      task: the stage that will be trained.
      directories: each written by training or by `write_variables`; the best checkpoint by its own
        metric, or else its latest, averages where it keeps them.
      shapes: the state of the run (`Programs.state_shapes`).

    Raises:
      CheckpointError: a directory without a readable checkpoint or without a player of the task,
        two with the same player, or a leaf whose path, shape or type is not the run's.
    """
    found: dict[str, Variables] = {}
    given_by: dict[str, str] = {}
    lineage = []
    for directory in directories:
        stored, info = load_params(pathlib.Path(directory))
        players = [name for name in stored if name in task.nets]
        if not players:
            raise CheckpointError(
                f"--init-from={directory} holds {', '.join(stored)}, but the players of "
                f"{task.method}/{task.stage} are {', '.join(task.nets)}; give a directory with one "
                "of them"
            )
        for player in players:
            if player in found:
                raise CheckpointError(
                    f"--init-from={given_by[player]} and --init-from={directory} both hold "
                    f"{player}; give one of the two"
                )
            given_by[player] = directory
            found[player] = _fit(stored[player], shapes.nets[player], player, directory)
        weights = {name: found[name] for name in players}
        lineage.append(_origin(directory, info, weights))
        logger.info("%s from %s", ", ".join(players), info["checkpoint"])
    return Initial(found, tuple(lineage))


def fit_initial(task: Task, source: Source, initial: Initial, shapes: TrainState) -> Initial:
    """Adds what the task computes from the training data, for players that nothing else gives.

    Raises:
      ValueError: the task's values have no place in its networks.
    """
    if set(shapes.nets) <= set(initial.variables):
        return initial  # Thousands of samples would be read for nothing.
    found = task.fitted(lambda: source.spread(task.view, limit=FIT_SAMPLES))
    fitted = {player: tree for player, tree in found.items() if player not in initial.variables}
    for player, tree in fitted.items():
        net = shapes.nets[player]
        wanted = leaf_names(_collections(net))
        for name, leaf in leaf_names(tree).items():
            if name not in wanted or _signature(leaf) != _signature(wanted[name]):
                raise ValueError(f"{task.method}/{task.stage}: {player} cannot take {name}")
    return dataclasses.replace(initial, fitted=fitted)


def _collections(net: Net) -> dict[str, Any]:
    constants = {"constants": net.constants} if net.constants else {}
    return {"params": net.params, "batch_stats": net.stats, **constants}


def _fit(stored: Variables, net: Net, player: str, directory: str) -> Variables:
    """The stored variables in the structure of the run's."""
    wanted = _collections(net)
    shapes, given = leaf_names(wanted), leaf_names(legacy.with_constants(stored, wanted))
    for name in sorted({*shapes, *given}):
        if name not in given:
            problem = "is missing"
        elif name not in shapes:
            problem = "has no place in the network of this config"
        elif _signature(given[name]) != _signature(shapes[name]):
            problem = f"is {_signature(given[name])}, but this config makes it "
            problem += _signature(shapes[name])
        else:
            continue
        raise CheckpointError(
            f"--init-from={directory}: {player}'s {name} {problem}; set the fields of "
            "--config.task.net to those in its config.json"
        )
    return jax.tree.unflatten(jax.tree.structure(wanted), [given[name] for name in shapes])


def _signature(leaf: Any) -> str:
    return f"{leaf.dtype.name} {tuple(leaf.shape)}"


def _origin(
    directory: str, info: Mapping[str, Any], weights: Mapping[str, Variables]
) -> dict[str, Any]:
    return {
        "directory": directory,
        **{name: info[name] for name in ("checkpoint", "step", "averaged")},
        "method": info.get("method", ""),
        "stage": info.get("stage", ""),
        "players": sorted(weights),
        "weights_sha256": digest(weights),
        "lineage": info.get("lineage", {}),
    }


def start_state(programs: Programs, initial: Initial) -> TrainState:
    """A fresh state, made where it will lie, with the initial variables.

    Averaged parameters start from them too; optimisers start fresh (none of ours looks at the
    parameters when it starts).
    """
    fresh = programs.init()
    if not (initial.variables or initial.fitted):
        return fresh

    def replace(state: TrainState, replaced: Mapping[str, Variables]) -> TrainState:
        nets, ema = dict(state.nets), dict(state.ema)
        for player, variables in replaced.items():
            given = Net(
                params=variables.get("params", {}),
                stats=variables.get("batch_stats", {}),
                constants=variables.get("constants", {}),
                opt_state=(),
            )
            nets[player] = _net_laid_over(nets[player], given)
            if player in ema:
                params = _laid_over(ema[player].params, given.params)
                ema[player] = Averages(params, _laid_over(ema[player].stats, given.stats))
        return state.replace(nets=nets, ema=ema)

    given = sharding.replicate({**initial.fitted, **initial.variables}, programs.mesh)
    return jax.jit(replace, out_shardings=programs.state_shardings)(fresh, given)


def _net_laid_over(net: Net, given: Net) -> Net:
    return net.replace(
        params=_laid_over(net.params, given.params),
        stats=_laid_over(net.stats, given.stats),
        constants=_laid_over(net.constants, given.constants),
    )


def _laid_over(tree: Any, given: Any) -> Any:
    """`tree` with the leaves that `given` has, whole or in part."""
    if not isinstance(given, Mapping):
        # A copy: the step donates its buffers, and none may be shared with another leaf or the
        # host.
        return jnp.copy(given)
    return {**tree, **{name: _laid_over(tree[name], part) for name, part in given.items()}}
