"""Data sets by name; each adapter is a module with `list_clips(raw) -> list[ClipInfo]`."""

import importlib
import pathlib
from collections.abc import Mapping
from typing import Protocol, cast

from talkface_jax.errors import ConfigError
from talkface_jax.records import ClipInfo

ADAPTERS: Mapping[str, str] = {
    "folder": "data_prep.datasets.folder",
    "synthetic": "data_prep.datasets.synthetic",
}


class Adapter(Protocol):
    """What a data set's module provides."""

    def list_clips(self, raw: pathlib.Path) -> list[ClipInfo]:
        """Every clip under `raw`, before a pixel is read; paths are relative to it or absolute."""
        ...


def get_adapter(name: str) -> Adapter:
    """The adapter of a data set.

    Raises:
      ConfigError: no such data set.
    """
    if name not in ADAPTERS:
        raise ConfigError(
            f"--dataset={name} is unknown; use one of: {', '.join(sorted(ADAPTERS))}."
        )
    return cast(Adapter, importlib.import_module(ADAPTERS[name]))
