"""The working directory of a run and the config it belongs to."""

import contextlib
import json
import os
import pathlib
from typing import Any

import jax

from talkface_jax import config as config_module
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, ConfigError
from talkface_jax.task import Task
from talkface_jax.train.checkpoint import FOLDER, checkpoint_steps
from talkface_jax.train.optim import bound_to_end, updates_before

CONFIG_FILE = "config.json"
CHANGEABLE = frozenset(
    {
        "train.steps",
        "train.log_every",
        "train.eval_every",
        "train.preview_every",
        "train.checkpoint_every",
        "train.patience",
        "data.threads",
        "data.workers",
        "data.prefetch",
        "data.cache_mb",
        "data.features_dir",
        "data.max_corrupt",
        "mesh.data",
        "mesh.fsdp",
        "mesh.min_shard_size",
    }
)
"""Fields that may differ when a run is continued: they change neither networks nor batches.

`train.steps` may only as long as no rate depends on the run's end.
"""


def prepare_workdir(
    workdir: pathlib.Path, config: ExperimentConfig, *, task: Task | None = None
) -> None:
    """Makes the directory and writes its config, or checks that it belongs to this config.

    Args:
      workdir: the directory.
      config: the run.
      task: the stage that goes on there; None where no run does.

    Raises:
      CheckpointError: it belongs to another config (the fields are named), it holds a checkpoint to
        which rates have led that depend on another `train.steps`, or it cannot be written.
    """
    path = workdir / CONFIG_FILE
    text = config_module.dumps(config)
    if path.exists():
        try:
            stored = _stored(path, config)
        except ConfigError as error:
            raise CheckpointError(f"{error}") from error
        changed = config_module.differences(stored, json.loads(text))
        fixed = [name for name in changed if name not in CHANGEABLE]
        if fixed:
            raise CheckpointError(
                f"{workdir} belongs to another config (it differs in {', '.join(fixed)}); "
                "use another --workdir or the values in its config.json"
            )
        if task is not None:
            _require_same_end(workdir, task, config, before=stored["train"]["steps"])
    if jax.process_index() == 0:
        _write(path, text)
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("workdir is prepared")


def _require_same_end(
    workdir: pathlib.Path, task: Task, config: ExperimentConfig, *, before: int
) -> None:
    """Refuses another end than `before` where it would make a rate jump."""
    stored = checkpoint_steps(workdir / FOLDER)
    if not stored:
        return
    for player in task.nets:
        if not task.trained.get(player, ("*",)):
            continue  # it has no rate
        done, old, new = (
            updates_before(task, player, step) for step in (stored[-1], before, config.train.steps)
        )
        optim = config.optim_of(player)
        if old != new and bound_to_end(optim, done=done, updates=min(old, new)):
            name = f"players.{player}" if player in config.players else "optim"
            raise CheckpointError(
                f"{workdir} was trained with train.steps = {before}, not {config.train.steps}, and "
                f"the rate of {name} depends on that end by its schedule {optim.schedule!r}; keep "
                f"--config.train.steps={before}, give another --workdir and --init-from={workdir}, "
                f"or train anew with a schedule that does not depend on the end "
                f"(--config.{name}.schedule=constant)"
            )


def _stored(path: pathlib.Path, config: ExperimentConfig) -> dict[str, Any]:
    """The config that lies there; fields that are newer than it have their defaults."""
    values = config_module.load_json(path)
    try:
        frozen = config_module.freeze(values, task_class=type(config.task), where=str(path))
    except ConfigError:
        return values  # of another stage, or with fields that this version lacks: differs anyhow
    return json.loads(config_module.dumps(frozen))


def _write(path: pathlib.Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a file stands where the folder should be
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}); use a --workdir on a disk with room "
            "that you may write"
        ) from error
