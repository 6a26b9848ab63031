"""Data sets by name; each adapter is a module with `list_clips(tree) -> Listing`."""

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from data_prep.datasets.listing import LICENCES, Listing
from data_prep.tree import Tree
from talkface_jax.errors import ConfigError

__all__ = ["ADAPTERS", "LICENCES", "Adapter", "Listing", "get_adapter"]

ADAPTERS: Mapping[str, str] = {
    name: f"data_prep.datasets.{name}" for name in ("folder", "hdtf", "lrs2", "mead", "synthetic")
}


class Adapter(Protocol):
    """What a data set's module provides."""

    def list_clips(self, tree: Tree) -> Listing:
        """Every clip of the tree, before a pixel is read; paths are relative to its root.

        Raises:
          TalkfaceError: the tree is not one of this data set, or says two things at once.
        """
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
