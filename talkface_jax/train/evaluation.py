"""Online metrics over an evaluation split."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.metrics.base import Average
from talkface_jax.task import (
    Batch,
    Metric,
    PyTree,
    Task,
    TrainState,
    Variables,
)
from talkface_jax.train.state import evaluation_variables
from talkface_jax.train.step import make_eval_step


def evaluate(
    measure: Callable[[Batch], dict[str, Metric]], batches: Iterable[Batch]
) -> dict[str, float]:
    """Merges the metrics of all batches, of which `measure` gives those of one.

    Returns:
      Values by name; a metric that computes a dict gives `<name>/<part>`. Empty without batches.
    """
    merged: dict[str, Metric] = {}
    for batch in batches:
        for name, metric in jax.device_get(measure(batch)).items():
            merged[name] = merged[name].merge(metric) if name in merged else metric
    return flatten({name: metric.compute() for name, metric in merged.items()})


def evaluate_variables(
    task: Task,
    variables: Mapping[str, Variables],
    frozen: Mapping[str, PyTree],
    batches: Iterable[Mapping[str, Any]],
) -> dict[str, float]:
    """`evaluate` of given variables by player, where there is no run."""
    step = jax.jit(make_eval_step(task))
    return evaluate(lambda batch: step(variables, frozen, batch), batches)


def check_metric(
    best: str, task: Task, state: TrainState, frozen: Mapping[str, PyTree], *, rows: int
) -> None:
    """Checks, from shapes alone, that the task measures what the best checkpoint is judged by.

    Args:
      best: `train.best_metric`; "" for none.
      task: the stage.
      state: of the run, or its shapes.
      frozen: as the task gives them.
      rows: of a batch.

    Raises:
      ConfigError: no evaluation would give that name.
    """
    if not best:
        return
    mask = jax.ShapeDtypeStruct((rows,), jnp.float32)
    batch = {**task.view.spec(rows), "mask": mask}
    found = jax.eval_shape(make_eval_step(task), evaluation_variables(state), frozen, batch)
    # Which parts another metric computes shows only when it does.
    whole = found.get(best.partition("/")[0])
    if best not in found and (whole is None or isinstance(whole, Average)):
        raise unknown_metric(best, task, found)


def unknown_metric(best: str, task: Task, known: Iterable[str]) -> ConfigError:
    """What to tell about a `train.best_metric` that is none of the known ones."""
    stage = f"{task.method}/{task.stage}"
    names = sorted(known)
    if not names:
        return ConfigError(
            f"config.train.best_metric is {best!r}, but {stage} measures nothing; leave it empty "
            "(--config.train.best_metric=)"
        )
    return ConfigError(
        f"config.train.best_metric is {best!r}, but {stage} measures: {', '.join(names)}; use one "
        "of them"
    )


def flatten(values: Mapping[str, Any]) -> dict[str, float]:
    """Nested dicts of numbers as one dict with slashed names."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{part}": item for part, item in flatten(value).items()}
        else:
            flat[name] = float(value)
    return flat
