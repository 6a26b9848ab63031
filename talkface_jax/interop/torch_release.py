"""What public PyTorch code bases release: one network, or several together.

A release of several is one file of `torch.save` that holds a dict of state_dicts, or a folder with
such files and files of one state_dict.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.errors import WeightsError
from talkface_jax.interop import torch_file
from talkface_jax.interop.restricted_pickle import shown
from talkface_jax.interop.torch_network import TorchNetwork


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a network's state_dict was found.

    Attributes:
      name: of the network.
      network: how it is read.
      path: its file.
      entry: its key in the dict that the file holds, or "".
    """

    name: str
    network: TorchNetwork
    path: pathlib.Path
    entry: str = ""

    def tensors(self) -> dict[str, np.ndarray]:
        """Its state_dict.

        Raises:
          WeightsError: see `torch_file.read_state_dict`.
        """
        return torch_file.read_state_dict(self.path, entry=self.entry)

    def __str__(self) -> str:
        return f"{self.path} ({self.entry})" if self.entry else str(self.path)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a release holds.

    Attributes:
      sources: of every network that is read.
      left_out: keys of the files' other entries, which are left out on purpose.
    """

    sources: tuple[Source, ...]
    left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TorchRelease:
    """Networks of one stage that a public PyTorch code base releases together.

    Attributes:
      networks: by name, each with its place.
      ignored: patterns of the entries, beside the networks' own, that the files hold and that are
        left out on purpose (optimiser states, counters).

    Raises:
      ValueError: networks of several stages, a player twice, or files beside entries of the release
        itself.
    """

    networks: Mapping[str, TorchNetwork]
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        networks = self.networks.values()
        if len({item.stage for item in networks}) != 1:
            raise ValueError("the networks of a release are of one stage")
        if len({item.player for item in networks}) != len(self.networks):
            raise ValueError("the networks of a release are as many players")
        if len({bool(item.place.file) for item in networks}) != 1:
            raise ValueError("a release is one file or a folder")

    @property
    def stage(self) -> str:
        """Registry name of the stage that trains the networks."""
        return next(iter(self.networks.values())).stage

    @property
    def config(self) -> Callable[[], Any]:
        """Makes the stage's task config of the published sizes."""
        return next(iter(self.networks.values())).config

    def find(self, path: pathlib.Path) -> Found:
        """Where the networks lie in a release on disk; no tensor is read.

        In a folder, the files may lie as they were released, or all in the folder itself.

        Args:
          path: the file, or the folder.

        Raises:
          WeightsError: a file where a folder is needed, or the other way round; a file or an entry
            that is missing, or an entry that the release does not have; a file that cannot be read.
        """
        files = self._files(path)
        sources = tuple(
            Source(name, item, files[item.place.file], item.place.entry)
            for name, item in self.networks.items()
        )
        left_out: list[str] = []
        for file in files.values():
            wanted = [item.entry for item in sources if item.path == file and item.entry]
            if wanted:
                left_out += self._left_out(file, wanted)
        return Found(sources, tuple(left_out))

    def _files(self, path: pathlib.Path) -> dict[str, pathlib.Path]:
        """The files on disk by their places."""
        places = list(dict.fromkeys(item.place.file for item in self.networks.values()))
        if places == [""]:
            return {"": path}
        if not os.path.isdir(path):
            is_what = "is a file" if os.path.exists(path) else "does not exist"
            raise WeightsError(
                f"{path} {is_what}, where a folder with {', '.join(places)} is needed; give the"
                " folder as it was released"
            )
        return _require_files(path, places)

    def _left_out(self, file: pathlib.Path, wanted: Sequence[str]) -> list[str]:
        """The entries of a file that no network is, all of them ignored ones."""
        names = torch_file.entry_names(file)
        missing = [entry for entry in wanted if entry not in names]
        if missing:
            held = ", ".join(shown(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
            raise WeightsError(
                f"{file} has no entry {', '.join(missing)} (it holds {held or 'none'}); give the"
                " file as it was released, or one network alone by its own --stage"
            )
        others = [name for name in names if name not in wanted]
        for name in others:
            if not any(re.fullmatch(pattern, name) for pattern in self.ignored):
                raise WeightsError(
                    f"{file} holds an entry {shown(name)}, which this release does not have; give"
                    " the file as it was released"
                )
        return others


def _file(folder: pathlib.Path, place: str) -> pathlib.Path | None:
    """The file of a place, in its released subfolder or in the folder itself."""
    nested, flat = folder / place, folder / pathlib.PurePosixPath(place).name
    there = [path for path in dict.fromkeys((nested, flat)) if os.path.exists(path)]
    if len(there) > 1:
        raise WeightsError(
            f"both {nested} and {flat} exist, and nothing says which is meant; leave one of them"
        )
    return there[0] if there else None


def _require_files(folder: pathlib.Path, places: Sequence[str]) -> dict[str, pathlib.Path]:
    """The files of all places."""
    found = {place: _file(folder, place) for place in places}
    if missing := [place for place, file in found.items() if file is None]:
        raise WeightsError(
            f"{folder} lacks {', '.join(missing)}; give the folder as it was released, or put what"
            " is missing there"
        )
    return {place: file for place, file in found.items() if file is not None}


def find_network(name: str, network: TorchNetwork, path: pathlib.Path) -> Found:
    """Where one network alone lies: a file's state_dict, or its own one in a release.

    Raises:
      WeightsError: a folder without its file, or a file that cannot be read.
    """
    place, entry = network.place.file, network.place.entry
    if place and os.path.isdir(path):
        path = _require_files(path, [place])[place]
    if not entry or entry not in (names := torch_file.entry_names(path)):
        return Found((Source(name, network, path),))
    others = tuple(other for other in names if other != entry)
    return Found((Source(name, network, path, entry),), others)


def networks_by_name(
    released: Mapping[str, TorchNetwork | TorchRelease],
) -> dict[str, TorchNetwork | TorchRelease]:
    """What `talkface convert --stage` takes: releases, and each network as "release/network"."""
    found: dict[str, TorchNetwork | TorchRelease] = {}
    for name, item in released.items():
        found[name] = item
        if isinstance(item, TorchRelease):
            found |= {f"{name}/{part}": network for part, network in item.networks.items()}
    return found
