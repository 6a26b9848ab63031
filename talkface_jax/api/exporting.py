"""Working directories of a method's stages become one bundle."""

import pathlib
from collections.abc import Mapping

from talkface_jax import config, runtime
from talkface_jax.api.experiments import load_workdir_experiment
from talkface_jax.api.kinds import Place
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.export import bundle
from talkface_jax.export.bundle import Manifest
from talkface_jax.methods import registry
from talkface_jax.train import checkpoint


def export(stages: Mapping[str, Place], *, out: Place) -> Manifest:
    """Writes the bundle of working directories: networks, weights, configs, lineage.

    Of each directory it takes the best checkpoint by its metric, or else the latest.

    Args:
      stages: the working directory, of training or of `convert`, of every stage of one method.
      out: the bundle to make; an older one there is replaced once the new one is complete.

    Returns:
      The bundle's manifest.

    Raises:
      ConfigError: a directory without a config or of another stage or method, or a missing stage.
      CheckpointError: a directory that holds no such network.
      WeightsError: weights that do not fit their config, or an `out` that is something else or
        cannot be written.
      TalkfaceError: the folder of `out` cannot be one.
    """
    workdirs = {stage: pathlib.Path(path) for stage, path in stages.items()}
    target = pathlib.Path(out)
    runtime.require_folder(target.parent, flag="the folder of --out")
    experiments = _load_stages(workdirs)
    bundle.check_target(target)
    method = registry.get_method(next(iter(experiments.values())).method)
    variables, lineage = {}, {}
    programs = method.programs({stage: item.task for stage, item in experiments.items()})
    for stage, experiment in experiments.items():
        players = sorted({item.player for item in programs if item.stage == stage})
        loaded, info = checkpoint.load_params(workdirs[stage], players)
        variables.update(loaded)
        lineage[stage] = {**info, "config": config.to_dict(experiment)}
    return bundle.write_bundle(
        method,
        programs,
        variables=variables,
        configs={stage: item.task for stage, item in experiments.items()},
        lineage=lineage,
        out=target,
    )


def _load_stages(workdirs: Mapping[str, pathlib.Path]) -> dict[str, ExperimentConfig]:
    """The experiments of working directories by stage, in the method's order.

    Raises:
      ConfigError: a directory without a config, of another stage, or of another method than the
        first, or a stage of that method is missing.
    """
    if not workdirs:
        raise ConfigError("there is nothing to export; give the working directory of every stage")
    experiments = {stage: load_workdir_experiment(path) for stage, path in workdirs.items()}
    method = next(iter(experiments.values())).method
    for stage, experiment in experiments.items():
        if experiment.stage != stage:
            raise ConfigError(
                f"{workdirs[stage]} holds a {experiment.stage} stage; give it as "
                f"--{experiment.stage}"
            )
        if experiment.method != method:
            raise ConfigError(
                f"{workdirs[stage]} is of method {experiment.method}, but the stages before it are "
                f"of {method}; give stages of one method"
            )
    wanted = registry.get_method(method).stages
    if missing := [f"--{stage}" for stage in wanted if stage not in experiments]:
        raise ConfigError(
            f"{method} has the stages {', '.join(wanted)}; give {' and '.join(missing)} too"
        )
    return {stage: experiments[stage] for stage in wanted}
