"""Deterministic weights: every tensor of a PyTorch state_dict as a function of seed, key and shape.

A parity case stores no weights. The model whose inputs and outputs it keeps was filled by this
rule, so that a few kilobytes of key names stand for tens of megabytes of numbers.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def tensor(key: str, shape: Sequence[int], *, seed: int, scale: float | None = None) -> np.ndarray:
    """One float32 tensor of a state_dict.

    BatchNorm running variances and the weights of normalisations (one axis) are uniform in [0.5,
    1.5]; running means and biases are normal with deviation 0.1; every other tensor is normal with
    deviation `scale` or 1 / sqrt(fan in).

    Args:
      key: the tensor's name in the state_dict; its last part decides the distribution.
      shape: in PyTorch's layout.
      seed: of the case, not negative.
      scale: deviation in place of 1 / sqrt(fan in).
    """
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    name = key.rsplit(".", 1)[-1]
    if name == "running_var" or (name == "weight" and len(shape) == 1):
        values = rng.uniform(0.5, 1.5, shape)
    elif name in ("running_mean", "bias", "in_proj_bias"):
        values = rng.normal(0.0, 0.1, shape)
    else:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = rng.normal(0.0, scale or 1.0 / np.sqrt(fan_in), shape)
    return values.astype(np.float32)


def state_dict(
    shapes: Mapping[str, Sequence[int]], *, seed: int, scales: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """All tensors of {key: shape}; BatchNorm's counters (`num_batches_tracked`) are zero.

    Args:
      shapes: keys and shapes of one network.
      seed: of the case, not negative.
      scales: deviation of the tensors that need another than 1 / sqrt(fan in), by key.
    """
    scales = scales or {}
    return {
        key: np.zeros((), np.int64)
        if key.endswith("num_batches_tracked")
        else tensor(key, tuple(shape), seed=seed, scale=scales.get(key))
        for key, shape in shapes.items()
    }
