"""Working directories of a method's stages become one bundle."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from talkface_jax import config, runtime
from talkface_jax.api.experiments import load_workdir_experiment
from talkface_jax.api.kinds import Place
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, ConfigError, WeightsError
from talkface_jax.export import bundle
from talkface_jax.export.bundle import Manifest
from talkface_jax.methods import registry
from talkface_jax.stored import legacy
from talkface_jax.stored.integrity import digest
from talkface_jax.task import Method, Program, Variables
from talkface_jax.train import checkpoint
from talkface_jax.train.loop import FROZEN
from talkface_jax.train.state import draw

DIRECTORIES = "directories"
"""In the lineage of a stage whose players lie apart: the list of what each directory says."""


UNTRAINED = "untrained"
"""In the lineage of a stage whose weights are as its run drew them."""


def export(
    stages: Mapping[str, Place | Sequence[Place]],
    *,
    out: Place,
    untrained: Sequence[str] = (),
    compute: Literal["float32", "bfloat16"] = "float32",
) -> Manifest:
    """Writes the bundle of working directories: networks, weights, configs, lineage.

    Of each directory it takes the best checkpoint by its metric, or else the latest. The frozen
    networks that the method names come with it.

    Args:
      stages: the working directory, of training or of `convert`, of every stage of one method;
        several where the stage's players lie apart. A shared stage may be of any method's run.
      untrained: stages whose weights are drawn anew, as their run drew them at its beginning, in
        the place of those that it trained: a baseline. What was fitted to data before the first
        step is kept only where it is a constant.
      compute: number format of the networks' arithmetic; weights stay float32. bfloat16 is for
        accelerators; a CPU only emulates it.
      out: the bundle to make; an older one there is replaced once the new one is complete.

    Returns:
      The bundle's manifest.

    Raises:
      ConfigError: a directory without a config or of another stage or method, or a missing stage.
      CheckpointError: directories that hold no such network, or the same one.
      WeightsError: weights that do not fit their config, or an `out` that is something else or
        cannot be written.
      TalkfaceError: the folder of `out` cannot be one.
    """
    workdirs = {stage: _listed(places) for stage, places in stages.items()}
    target = pathlib.Path(out)
    _check_untrained(untrained, workdirs)
    runtime.require_folder(target.parent, flag="the folder of --out")
    name, experiments = _load_stages(workdirs)
    bundle.check_target(target)
    method = registry.get_method(name)
    configs = {stage: item.task for stage, item in experiments.items()}
    programs = method.programs(configs)
    variables, lineage = _collected(name, experiments, workdirs, programs, untrained=untrained)
    _check_frozen(method, configs, lineage)
    return bundle.write_bundle(
        method,
        programs,
        variables=variables,
        configs=configs,
        lineage=lineage,
        out=target,
        compute=compute,
    )


def _collected(
    name: str,
    experiments: Mapping[str, ExperimentConfig],
    workdirs: Mapping[str, Sequence[pathlib.Path]],
    programs: Sequence[Program],
    *,
    untrained: Sequence[str],
) -> tuple[dict[str, Variables], dict[str, Any]]:
    """The variables that the programs take, by player, and where they come from, by stage."""
    shapes: dict[str, Any] = {}
    homes: dict[str, str] = {}
    for program in programs:
        shapes |= program.variables()
        for player, stage in program.players.items():
            if homes.setdefault(player, stage) != stage or stage not in experiments:
                raise ValueError(f"{name}: {player} is of the stages {homes[player]} and {stage}")
    variables, lineage = {}, {}
    for stage, experiment in experiments.items():
        players = {player for player, home in homes.items() if home == stage}
        if not players:
            raise ValueError(f"{name}: no program takes the stage {stage}")
        loaded, info = _load_players(workdirs[stage], players)
        # Checkpoints of older versions kept constants elsewhere.
        variables |= {
            player: legacy.with_constants(tree, shapes[player]) for player, tree in loaded.items()
        }
        if stage in untrained:
            variables |= _drawn(experiment, {player: variables[player] for player in players})
            info = {**info, UNTRAINED: True}
        lineage[stage] = {**info, "config": config.to_dict(experiment)}
    return variables, lineage


def _check_untrained(untrained: Sequence[str], stages: Iterable[str]) -> None:
    for stage in untrained:
        if stage not in stages:
            raise ConfigError(
                f"--untrained={stage} is none of the stages that are exported; give one of "
                f"{', '.join(stages)}"
            )


def _drawn(experiment: ExperimentConfig, trained: Mapping[str, Variables]) -> dict[str, Variables]:
    """The players' variables as the run drew them, with the constants that it computed."""
    task = registry.build_task(experiment.method, experiment.stage, experiment.task)
    fresh = draw(task, seed=experiment.seed)
    return {
        player: {name: item for name, item in fresh[player].items() if name in stored}
        | {name: item for name, item in stored.items() if name == "constants"}
        for player, stored in trained.items()
    }


def _check_frozen(
    method: Method, configs: Mapping[str, Any], lineage: Mapping[str, Mapping[str, Any]]
) -> None:
    """The frozen networks of the bundle must be those that the stages were trained with.

    Raises:
      WeightsError: another one.
    """
    trained = [
        (stage, origin.get(FROZEN, {}))
        for stage, info in lineage.items()
        for origin in info.get(DIRECTORIES, [info])
    ]
    for item in method.frozen(configs):
        known = [(stage, digests[item.name]) for stage, digests in trained if item.name in digests]
        held = digest(item.load()) if known else None
        for stage, value in known:
            if value != held:
                raise WeightsError(
                    f"the {stage} stage was trained with another {item.name} than the bundle would "
                    "hold; give the file that it was trained with, or train it again"
                )


def _listed(places: Place | Sequence[Place]) -> list[pathlib.Path]:
    if isinstance(places, (str, os.PathLike)):
        return [pathlib.Path(places)]
    return [pathlib.Path(place) for place in places]


def _load_players(
    workdirs: Sequence[pathlib.Path], players: set[str]
) -> tuple[dict[str, Variables], dict[str, Any]]:
    """The variables of a stage's players, and where they come from.

    Raises:
      CheckpointError: a player that no directory holds or that two of them do, or a directory that
        holds none.
    """
    if len(workdirs) == 1:
        return checkpoint.load_params(workdirs[0], sorted(players))
    found: dict[str, Variables] = {}
    infos, places = [], {}
    for workdir in workdirs:
        own = sorted(players & set(checkpoint.stored_players(workdir)))
        if not own:
            raise CheckpointError(
                f"{workdir} holds none of {', '.join(sorted(players))}; leave it out"
            )
        if both := [player for player in own if player in found]:
            raise CheckpointError(
                f"{places[both[0]]} and {workdir} both hold {both[0]}; give one of the two"
            )
        loaded, info = checkpoint.load_params(workdir, own)
        places |= dict.fromkeys(own, workdir)
        found |= loaded
        infos.append({**info, "players": own})
    if missing := sorted(players - set(found)):
        raise CheckpointError(
            f"no directory holds {', '.join(missing)}; give one of talkface train or convert that "
            "does"
        )
    return found, {DIRECTORIES: infos}


def _load_stages(
    workdirs: Mapping[str, Sequence[pathlib.Path]],
) -> tuple[str, dict[str, ExperimentConfig]]:
    """The method, and the experiments of working directories by stage, in the method's order.

    Raises:
      ConfigError: a directory without a config, of another stage, of another method, or of another
        config than the stage's first one, or a stage of that method is missing.
    """
    if not any(workdirs.values()):
        raise ConfigError("there is nothing to export; give the working directory of every stage")
    experiments: dict[str, ExperimentConfig] = {}
    for stage, places in workdirs.items():
        for place in places:
            experiment = load_workdir_experiment(place)
            if experiment.stage != stage:
                raise ConfigError(
                    f"{place} holds a {experiment.stage} stage; give it as the {experiment.stage} "
                    "stage"
                )
            first = experiments.setdefault(stage, experiment)
            if experiment.task != first.task:
                raise ConfigError(
                    f"{place} and {places[0]} have different task configs; give directories of one"
                )
    method = _method_of(experiments, workdirs)
    wanted = registry.declaration(method).chained
    if missing := [stage for stage in wanted if stage not in experiments]:
        raise ConfigError(
            f"{method} has the stages {', '.join(wanted)}; give a working directory of "
            f"{' and of '.join(missing)} too"
        )
    return method, {stage: experiments[stage] for stage in wanted}


def _method_of(
    experiments: Mapping[str, ExperimentConfig], workdirs: Mapping[str, Sequence[pathlib.Path]]
) -> str:
    """The first method whose stages all of these are; one shared by methods fits each of them."""
    tasks = registry.tasks()

    def fits(method: str, stage: str, experiment: ExperimentConfig) -> bool:
        return tasks.get((method, stage)) == tasks[experiment.method, experiment.stage]

    methods = list(dict.fromkeys(item.method for item in experiments.values()))
    for method in methods:
        if all(fits(method, stage, item) for stage, item in experiments.items()):
            return method
    stage, other = next(
        (stage, item) for stage, item in experiments.items() if not fits(methods[0], stage, item)
    )
    raise ConfigError(
        f"{workdirs[stage][0]} is of method {other.method}, but the stages before it are of "
        f"{methods[0]}; give stages of one method"
    )
