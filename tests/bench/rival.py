"""What all official code is run with: a device, a number format, random inputs."""

import contextlib
import importlib.util
import pathlib
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class Rival:
    """Official networks on one device, with random weights, at their published sizes.

    Args:
      device: "cpu" or "cuda".
      compiled: whether `torch.compile` wraps the networks.
      half: whether matrix products run in bfloat16 (autocast).
    """

    def __init__(self, *, device: str, compiled: bool = False, half: bool = False) -> None:
        import torch

        self._torch, self._device, self._half = torch, device, half
        self._wrap = torch.compile if compiled else lambda module: module

    def _random(self, *shape: int) -> Any:
        values = np.random.default_rng(0).random(shape, np.float32)
        return self._torch.from_numpy(values).to(self._device)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """The settings of a call: no warnings, and the number format."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not self._half:
                yield
                return
            with self._torch.autocast(self._device, self._torch.bfloat16):
                yield

    def _timed(self, function: Callable[[], Any], *, gradients: bool) -> Callable[[], None]:
        def run() -> None:
            with self._running(), self._torch.set_grad_enabled(gradients):
                function()
            if self._device == "cuda":
                self._torch.cuda.synchronize()

        return run


def load(path: pathlib.Path) -> types.ModuleType:
    """A module of a checkout that imports nothing of it."""
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec and spec.loader, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
