"""Training of one stage."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from talkface_jax import config, runtime
from talkface_jax.api.kinds import Place, Progress
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.methods import registry
from talkface_jax.train import loop
from talkface_jax.train.loop import Measured, TrainResult
from talkface_jax.train.source import Source


def train(
    experiment: ExperimentConfig,
    *,
    workdir: Place,
    init_from: Place | Sequence[Place] = (),
    progress: Progress | None = None,
    measured: Measured | None = None,
    source: Source | None = None,
) -> TrainResult:
    """Trains a stage to `experiment.train.steps`; the same call again continues where it stopped.

    All devices that JAX sees are used. In a run of several processes every one calls this, after
    `train.distributed.initialize_from_env`; the callbacks are called in the first one only.

    Args:
      experiment: as `load_experiment` gives it.
      workdir: gets config.json, metrics.jsonl, tensorboard/ and checkpoints/.
      init_from: working directories whose players replace the fresh parameters, behind those that
        the experiment names itself (`train.init_from`).
      progress: called as progress("method/stage", steps done, steps in all).
      measured: called as measured(step, values) after every step, with the step's losses; every
        `train.log_every` steps also with learning rates and pace.
      source: other data than the prepared set that the experiment names, such as a
        `train.source.SegmentSource` of one tracked picture.

    Returns:
      Steps done, the last metrics and the path of the last checkpoint.

    Raises:
      ConfigError: no such method or stage, or fields, devices and data that do not fit each other.
      CheckpointError: a `workdir` of another config, an `init_from` that does not fit, or a
        checkpoint that cannot be written or read.
      TalkfaceError: a `workdir` that cannot be a folder, data that cannot be read, a loss that is
        not finite, or a stop by SIGINT or SIGTERM, which in the main thread are caught until the
        step is saved.
    """
    if isinstance(init_from, (str, os.PathLike)):
        init_from = (init_from,)
    if init_from:
        places = (*experiment.train.init_from, *(os.fspath(place) for place in init_from))
        plan = dataclasses.replace(experiment.train, init_from=places)
        experiment = dataclasses.replace(experiment, train=plan)
    config.validate(experiment)
    wanted = registry.task_class(experiment.method, experiment.stage).config_class
    if not isinstance(experiment.task, wanted):
        raise ConfigError(
            f"the task config of {experiment.method}/{experiment.stage} is a "
            f"{type(experiment.task).__name__}; give a {wanted.__name__}"
        )
    folder = pathlib.Path(workdir)
    runtime.require_folder(folder, flag="--workdir")
    task = registry.build_task(experiment.method, experiment.stage, experiment.task)
    return loop.train(
        task, experiment, workdir=folder, source=source, progress=progress, measured=measured
    )
