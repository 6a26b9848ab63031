"""Experiments: of a config file, or those that working directories were made with."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from talkface_jax import config
from talkface_jax.api.kinds import Place
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.methods import registry

_PREFIX = "--config."


def load_experiment(config_file: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The frozen experiment that a config file and overrides of its fields describe.

    Args:
      config_file: `FILE` or `FILE:SIZE`, such as "configs/iplap/motion.py:tiny". The file is run.
      overrides: "train.steps=200" each; `--config.` before it, as for the commands, may be there.

    Raises:
      ConfigError: anything wrong with the file, a field or a value.
    """
    if isinstance(overrides, str):
        overrides = (overrides,)
    fields = [_PREFIX + item.removeprefix(_PREFIX) for item in overrides]
    values = config.parse_flags([f"--config={config_file}", *fields])
    for name in ("method", "stage"):
        if name not in values:
            raise ConfigError(
                f"{config_file} sets no {name}; return a full ExperimentConfig from it"
            )
    try:
        task_class = registry.task_class(values["method"], values["stage"])
    except ConfigError as error:
        raise ConfigError(f"{config_file}: {error}") from error
    return config.freeze(values, task_class=task_class.config_class, where=config_file)


@dataclasses.dataclass(frozen=True)
class StoredExperiment:
    """The config.json of a working directory, not yet checked field by field."""

    path: pathlib.Path
    method: str
    stage: str
    values: Mapping[str, Any]

    def freeze(self, config_class: type) -> ExperimentConfig:
        """The experiment, its task of this dataclass.

        Raises:
          ConfigError: it does not fit this version.
        """
        return config.freeze(self.values, task_class=config_class, where=str(self.path))


def read_workdir_config(workdir: Place) -> StoredExperiment:
    """The config of a working directory, whatever its stage; no stage's code is imported.

    Raises:
      ConfigError: there is no config in it, or it says no stage.
    """
    path = pathlib.Path(workdir) / "config.json"
    values = config.load_json(path)
    method, stage = values.get("method"), values.get("stage")
    if not isinstance(method, str) or not isinstance(stage, str):
        raise ConfigError(
            f"{path} is of no stage; give a working directory of talkface train or convert"
        )
    return StoredExperiment(path, method, stage, values)


def load_workdir_experiment(workdir: Place) -> ExperimentConfig:
    """The experiment that a working directory, of training or of `convert`, was made with.

    Raises:
      ConfigError: there is no config in it, or it does not fit this version.
    """
    stored = read_workdir_config(workdir)
    try:
        task_class = registry.task_class(stored.method, stored.stage)
    except ConfigError as error:
        raise ConfigError(f"{stored.path}: {error}") from error
    return stored.freeze(task_class.config_class)
