"""Frozen networks run on the processor, whatever device the training runs on."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from talkface_jax.errors import ConfigError


def _processor() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise ConfigError(
            "speech features are computed on the CPU, which JAX was told to leave out: add it to"
            f" JAX_PLATFORMS ({error})"
        ) from error


class HostNetwork:
    """A network with its parameters, compiled for the CPU once for each shape of its inputs.

    Features are made where samples are read, next to a training that keeps the accelerator busy.
    Safe to call from several threads.
    """

    def __init__(self, module: nn.Module, params: Any, **others: Any) -> None:
        """`others` are further collections of its variables ("constants")."""
        self._device = _processor()
        self._variables = jax.device_put({"params": params, **others}, self._device)
        self._apply = jax.jit(module.apply)

    def __call__(self, *inputs: Any) -> Any:
        """The network's results as NumPy arrays; inputs are arrays or trees of them."""
        placed = jax.device_put(inputs, self._device)
        return jax.tree.map(np.asarray, jax.device_get(self._apply(self._variables, *placed)))
