"""Experiment configuration: dataclasses, and loading, validation, freezing and dumping of them.

A config file (`configs/<method>/<stage>.py`) has `get_config(arg)` that returns
`to_config_dict(ExperimentConfig(...))`; ml_collections loads it and applies `--config.a.b=value`
overrides, and `freeze` turns the result into a frozen, type-checked `ExperimentConfig`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import dacite

from talkface_jax import extras
from talkface_jax.errors import ConfigError
from talkface_jax.optim_config import OptimConfig, validate_optim
from talkface_jax.ranges import (
    AT_LEAST_0,
    AT_LEAST_1,
    BATCH,
    DROPOUT,
    SEED,
    Range,
    check_ranges,
    ranged,
)

_EVAL_SPLIT_BEFORE = "test"  # what a dump without data.eval_split was made with


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which prepared data set, and how it is read.

    Attributes:
      directory: output of `talkface prepare`.
      mixture: several such directories instead, read as one.
      weights: each one's share of the training samples, in any unit; evaluation goes through all of
        their windows.
      train_split, eval_split: names of splits in its manifest (in every one of a mixture); by the
        second checkpoints are chosen, so it is not the one whose scores are reported.
      batch_size: global batch, over all devices and processes.
      eval_batches: batches of one in-loop evaluation; 0 for the whole split.
      threads: reader threads of each process.
      workers: reader processes of each process, in place of its threads; 0 for threads.
      prefetch: batches read ahead.
      cache_mb: memory for decoded segments, in MiB per process; workers divide it.
      features_dir: a local folder that keeps what is costly to make of a segment for all runs and
        hosts that are given it; today that is what sinha2020's motion stage reads, 330 MB
        (whisper_tiny) or 70 MB (ctc29, deepspeech) an hour of footage. Empty: in memory only.
      max_corrupt: how many records that cannot be read each process may skip, with a warning and
        another window in their place; 0 stops at the first.
    """

    directory: str = ""
    mixture: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    train_split: str = "train"
    eval_split: str = "val"
    batch_size: int = ranged(8, BATCH)
    eval_batches: int = ranged(8, AT_LEAST_0)
    threads: int = ranged(2, AT_LEAST_1)
    workers: int = ranged(0, AT_LEAST_0)
    prefetch: int = ranged(4, AT_LEAST_0)
    cache_mb: int = ranged(1024, AT_LEAST_0)
    features_dir: str = ""
    max_corrupt: int = ranged(0, AT_LEAST_0)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop.

    Attributes:
      steps: optimiser steps in all.
      log_every, eval_every, preview_every, checkpoint_every: periods in steps; 0 for never (a
        checkpoint is always written at the end).
      keep_latest, keep_best: how many checkpoints stay.
      best_metric: online metric by which "best" is judged; empty to keep only the latest.
      best_mode: whether a smaller or a larger value is better.
      patience: evaluations without a better `best_metric` after which training ends; 0 for never.
      compute: number format of the networks' arithmetic; parameters and optimiser state stay
        float32.
      remat: what the backward pass recomputes instead of keeping: "none", all but convolutions and
        matrix products ("products"), or "everything".
      ema_decay: decay of the averages of the generating players' parameters and batch statistics,
        which evaluation and export take; 0 for none.
      accumulate: parts of a batch that are computed one after the other.
      init_from: working directories (of training or of `talkface convert`) whose players replace
        the fresh parameters and batch statistics before the first step.
    """

    steps: int = ranged(1000, AT_LEAST_1)
    log_every: int = ranged(50, AT_LEAST_0)
    eval_every: int = ranged(500, AT_LEAST_0)
    preview_every: int = ranged(500, AT_LEAST_0)
    checkpoint_every: int = ranged(500, AT_LEAST_0)
    keep_latest: int = ranged(1, AT_LEAST_1)
    keep_best: int = ranged(1, AT_LEAST_0)
    best_metric: str = ""
    best_mode: Literal["min", "max"] = "min"
    patience: int = ranged(0, AT_LEAST_0)
    ema_decay: float = ranged(0.0, DROPOUT)
    compute: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "products", "everything"] = "none"
    accumulate: int = ranged(1, AT_LEAST_1)
    init_from: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Device mesh: batches are split over data x fsdp, parameters over fsdp.

    `data` = -1 takes all devices that `fsdp` leaves. Arrays of fewer than `min_shard_size`
    elements are replicated.
    """

    data: int = ranged(-1, Range(least=-1))
    fsdp: int = ranged(1, AT_LEAST_1)
    min_shard_size: int = ranged(4096, AT_LEAST_0)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """One training run.

    Attributes:
      method, stage: registry names.
      task: the stage's own config (a dataclass beside the stage).
      optim: default optimiser; `players` overrides it by player.
    """

    method: str
    stage: str
    task: Any
    seed: int = ranged(0, SEED)
    data: DataConfig = DataConfig()
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    players: Mapping[str, OptimConfig] = dataclasses.field(default_factory=dict)
    train: TrainConfig = TrainConfig()
    mesh: MeshConfig = MeshConfig()

    def optim_of(self, player: str) -> OptimConfig:
        """The optimiser config of one player."""
        return self.players.get(player, self.optim)


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain nested dicts, tuples kept."""
    return dataclasses.asdict(config)


def to_config_dict(config: ExperimentConfig) -> Any:
    """The mutable, locked ConfigDict that a config file returns."""
    from ml_collections import config_dict

    return config_dict.ConfigDict(to_dict(config))


def pick(sizes: Mapping[str, Callable[[], ExperimentConfig]], size: str) -> ExperimentConfig:
    """The experiment of one size of a config file; the first of `sizes` where none is named.

    Raises:
      ConfigError: there is no such size.
    """
    size = size or next(iter(sizes))
    if size not in sizes:
        raise ConfigError(
            f"the config has no size {size!r}; write one of {', '.join(sizes)} after FILE:"
        )
    return sizes[size]()


def dumps(config: Any) -> str:
    """JSON with sorted keys; `loads` gives the same config back."""
    return json.dumps(to_dict(config), indent=2, sort_keys=True) + "\n"


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def build(cls: type, values: Mapping[str, Any], *, where: str = "config") -> Any:
    """A dataclass from nested dicts, every field checked.

    Raises:
      ConfigError: a field that does not exist or has the wrong type, by its dotted name.
    """
    try:
        return dacite.from_dict(
            cls,
            _lists_to_tuples(values),
            dacite.Config(strict=True, type_hooks={float: _as_float}),
        )
    except dacite.UnexpectedDataError as error:
        names = ", ".join(sorted(error.keys))
        known = ", ".join(field.name for field in dataclasses.fields(cls))
        raise ConfigError(
            f"{where}: unknown field {names}; remove it or use one of: {known}"
        ) from error
    except dacite.WrongTypeError as error:
        raise ConfigError(
            f"{where}: field {error.field_path} must be {_type_name(error.field_type)}, not "
            f"{error.value!r}; correct it"
        ) from error
    except dacite.MissingValueError as error:
        raise ConfigError(f"{where}: field {error.field_path} is missing; add it") from error
    except dacite.DaciteError as error:
        raise ConfigError(f"{where}: {error}") from error


def _type_name(kind: Any) -> str:
    """A field's type for a reader."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_lists_to_tuples(item) for item in value)
    return value


def freeze(
    values: Mapping[str, Any], *, task_class: type, where: str = "config"
) -> ExperimentConfig:
    """The frozen experiment from nested dicts; `task_class` is the dataclass of the `task` section.

    Raises:
      ConfigError: unknown, missing or ill-typed field, by name; contradictions between fields.
    """
    values = dict(values)
    task = build(task_class, values.pop("task", {}), where=f"{where}.task")
    config = build(ExperimentConfig, {**values, "task": {}}, where=where)
    config = dataclasses.replace(config, task=task)
    validate(config)
    return config


def validate(config: ExperimentConfig) -> None:
    """Checks what types cannot: ranges, and fields that contradict each other.

    Raises:
      ConfigError: by field name.
    """
    check_ranges(config)
    if not config.mesh.data:
        raise ConfigError(
            "config.mesh.data must be -1 or at least 1, not 0; give another --config.mesh.data (-1 "
            "takes all devices)"
        )
    if config.train.patience and not config.train.best_metric:
        raise ConfigError(
            f"config.train.patience is {config.train.patience}, but there is no metric to wait "
            "for; give --config.train.best_metric or leave patience at 0"
        )
    _validate_mixture(config.data)
    validate_optim(config.optim, where="optim")
    for player, optim in config.players.items():
        validate_optim(optim, where=f"players.{player}")


def _validate_mixture(data: DataConfig) -> None:
    if data.mixture and data.directory:
        raise ConfigError(
            f"config: data.directory is {data.directory!r} and data.mixture is not empty; "
            "give only one of the two"
        )
    if len(data.weights) != len(data.mixture):
        raise ConfigError(
            f"config: data.mixture has {len(data.mixture)} directories and data.weights "
            f"{len(data.weights)} numbers; give one weight for each directory"
        )
    if not all(0 < weight < float("inf") for weight in data.weights):
        raise ConfigError(
            f"config: data.weights must be above 0 and finite, not {data.weights}; "
            "leave out the directory that is to give nothing"
        )


def parse_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Loads `--config=FILE[:ARG]` with its `--config.a.b=value` overrides into nested dicts.

    Raises:
      ConfigError: missing file, unknown field, or a value that does not fit the field's type.
      PackageError: the file imports a package of this one's that is not installed.
    """
    loaded = _load_flags(arguments[:1])
    for override in arguments[1:]:
        _check_field(override, loaded)
    return _load_flags(arguments) if arguments[1:] else loaded


def _load_flags(arguments: Sequence[str]) -> dict[str, Any]:
    from absl import flags
    from ml_collections import config_flags

    argv = ["talkface", *arguments]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    file = arguments[0].removeprefix("--config=")
    path = file.partition(":")[0]
    if not pathlib.Path(path).is_file():
        raise ConfigError(
            f"there is no file {path}; run the command in the checkout, or give its full path"
        )
    try:
        values(argv)
        loaded: Any = values["config"].value
        return loaded.to_dict()
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    except flags.Error as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{reason}; give a value of the type it has in {file}") from error
    except ModuleNotFoundError as error:
        raise extras.explain(error) or _broken(file, error) from error
    except Exception as error:  # a config file is a program: it may fail in any way
        raise _broken(file, error) from error


def _broken(file: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())
    return ConfigError(
        f"{file} cannot be loaded ({type(error).__name__}: {reason}); correct the file"
    )


def _check_field(override: str, values: Any) -> None:
    """ml_collections names neither the section nor the known fields."""
    name = override.partition("=")[0]
    for part in name.removeprefix("--config.").split("."):
        known = values if isinstance(values, Mapping) else {}
        key = part.partition("[")[0]
        if key not in known:
            remedy = f"use one of: {', '.join(known)}" if known else "there are none; leave it out"
            raise ConfigError(f"{name}: unknown field {key}; {remedy}")
        values = known[key]


def load_json(path: pathlib.Path) -> dict[str, Any]:
    """A dumped config as nested dicts; what its version meant by a field's absence is filled in.

    Raises:
      ConfigError: the file is missing, cannot be read, or holds no JSON object.
    """
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; point at a directory that training wrote") from error
    except NotADirectoryError as error:
        raise ConfigError(
            f"{path.parent} is a file; point at a directory that training wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is not valid JSON ({error}); restore it or train again"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no config; point at a directory that training wrote")
    if "method" in values and isinstance(values.setdefault("data", {}), dict):
        values["data"].setdefault("eval_split", _EVAL_SPLIT_BEFORE)
    return values


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two dumped configs differ."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        name, a, b = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{name}.")
        elif a != b:
            found.append(name)
    return found
