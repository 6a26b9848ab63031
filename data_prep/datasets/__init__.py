"""Data sets by name; each adapter is a module with `list_clips(tree) -> Listing`."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from data_prep.datasets.listing import LICENCES, Listing
from data_prep.tree import Tree
from talkface_jax.errors import ConfigError
from talkface_jax.records import ClipInfo

__all__ = [
    "ADAPTERS",
    "LICENCES",
    "SPEECH",
    "Adapter",
    "Listing",
    "check_name",
    "get_adapter",
    "get_protocols",
]

ADAPTERS: Mapping[str, str] = {
    name: f"data_prep.datasets.{name}" for name in ("folder", "hdtf", "lrs2", "mead", "synthetic")
}
SPEECH = "speech"
"""The data set that is made without raw files (`data_prep.speech`), so that it has no adapter."""


class Adapter(Protocol):
    """What a data set's module provides.

    It may have `PROTOCOLS` too: published splits besides its own, by the name that `--split` gives,
    each a function from the clips to the clips with new splits.
    """

    def list_clips(self, tree: Tree) -> Listing:
        """Every clip of the tree, before a pixel is read; paths are relative to its root.

        Raises:
          TalkfaceError: the tree is not one of this data set, or says two things at once.
        """
        ...


def check_name(name: str) -> None:
    """Refuse the name of a data set that there is not.

    Raises:
      ConfigError: it is such a name.
    """
    names = sorted([*ADAPTERS, SPEECH])
    if name not in names:
        raise ConfigError(f"--dataset={name} is unknown; use one of: {', '.join(names)}.")


def get_adapter(name: str) -> Adapter:
    """The adapter of a data set.

    Raises:
      ConfigError: no such data set, or the one that has no raw files.
    """
    check_name(name)
    if name == SPEECH:
        raise ConfigError(
            f"--dataset={name} has no raw files; make it with data_prep.speech.dataset."
        )
    return cast(Adapter, importlib.import_module(ADAPTERS[name]))


def get_protocols(
    name: str, wanted: str
) -> Mapping[str, Callable[[Sequence[ClipInfo]], list[ClipInfo]]]:
    """The published splits of a data set besides its own, `Adapter`'s `PROTOCOLS`.

    Raises:
      ConfigError: `wanted`, where it is not empty, is none of them.
    """
    found = getattr(get_adapter(name), "PROTOCOLS", {})
    if wanted and wanted not in found:
        raise ConfigError(
            f"--dataset={name} has no --split={wanted}; give one of "
            f"{', '.join(['official', 'speaker', *found])}."
        )
    return found
