"""Online metrics over an evaluation split."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from talkface_jax.task import Batch, Metric


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


def flatten(values: Mapping[str, Any]) -> dict[str, float]:
    """Nested dicts of numbers as one dict with slashed names."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{part}": item for part, item in flatten(value).items()}
        else:
            flat[name] = float(value)
    return flat
