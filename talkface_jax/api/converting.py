"""Weights of a method's official PyTorch code become a working directory, and back."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

from talkface_jax import __version__, runtime
from talkface_jax.api.experiments import read_workdir_config
from talkface_jax.api.kinds import Place
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.interop import torch_file, torch_release, torch_rules
from talkface_jax.interop.torch_network import TorchNetwork
from talkface_jax.interop.torch_release import Found, TorchRelease
from talkface_jax.methods import registry
from talkface_jax.models import counts
from talkface_jax.task import Variables
from talkface_jax.train import checkpoint, initial

UNKNOWN_TERMS = "unknown; ask who trained these weights"


@dataclasses.dataclass(frozen=True)
class ConvertedNetwork:
    """What `convert` read for one network.

    Attributes:
      name: of the network, as `stage` of `convert` gives it.
      player: what it is called in the working directory.
      source: name of its file.
      parameters: how many numbers it has.
      tensors: how many tensors of its state_dict found their place in it.
      ignored: the state_dict's other tensors, left out on purpose: key -> the pattern that it
        matched.
    """

    name: str
    player: str
    source: str
    parameters: int
    tensors: int
    ignored: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` read.

    Attributes:
      out: the working directory that was made.
      networks: one, or those of a release.
      left_out: what the files hold besides state_dicts of these networks, by its keys.
      terms: under which terms the weights may be used.
    """

    out: pathlib.Path
    networks: tuple[ConvertedNetwork, ...]
    left_out: tuple[str, ...]
    terms: str

    @property
    def parameters(self) -> int:
        """How many numbers the networks have."""
        return sum(item.parameters for item in self.networks)


@dataclasses.dataclass(frozen=True)
class TorchFile:
    """What `to_torch` wrote.

    Attributes:
      out: the safetensors file.
      tensors: how many it holds.
      checkpoint: path of the checkpoint that they come from.
    """

    out: pathlib.Path
    tensors: int
    checkpoint: str


def convert(
    weights: Place,
    *,
    method: str,
    stage: str,
    out: Place,
    experiment: ExperimentConfig | None = None,
    terms: str | None = None,
    where: str = "config",
) -> Conversion:
    """Reads networks of the official code into a working directory, as training makes them.

    Every tensor must have its place and its shape; nothing is guessed.

    Args:
      weights: a file of torch.save, safetensors or npz, or the folder of a release; nothing in it
        is run.
      method: whose official code, a key of `methods.registry.with_networks`.
      stage: which of its networks ("motion", "render", "discriminator"), which release of several
        ("liveportrait"), or one network of a release ("liveportrait/lip").
      out: the directory to make; it may exist if it is empty.
      experiment: the sizes of the networks, by default the published ones.
      terms: under which terms the weights, and the data behind them, may be used.
      where: what an error calls the experiment.

    Raises:
      ConfigError: no such method or network, or an experiment of another stage.
      WeightsError: a file or folder that cannot be read, lacks a network or does not fit it.
      CheckpointError: something lies at `out`, or it cannot be written.
      TalkfaceError: the folder of `out` cannot be one.
    """
    source, target = pathlib.Path(weights), pathlib.Path(out)
    runtime.require_folder(target.parent, flag="the folder of --out")
    released = _released(method, stage)
    if experiment is None:
        experiment = ExperimentConfig(method, released.stage, released.config())
    _check_stage(experiment.method, experiment.stage, method, stage, released, where=where)
    initial.check_target(target)
    if isinstance(released, TorchRelease):
        found = released.find(source)
    else:
        found = torch_release.find_network(stage, released, source)
    variables, networks = _read(found, experiment.task, source)
    lineage = {
        **_origin(stage, released, found, source),
        "terms": terms or UNKNOWN_TERMS,
        "converted_by": f"talkface_jax {__version__}",
    }
    info = {"method": experiment.method, "stage": experiment.stage, "lineage": lineage}
    initial.write_variables(target, experiment, variables, info)
    return Conversion(target, networks, found.left_out, lineage["terms"])


def to_torch(
    workdir: Place, *, method: str, stage: str, out: Place, step: int | None = None
) -> TorchFile:
    """Writes a network in a working directory as a safetensors file for the official code.

    There, `net.load_state_dict(safetensors.torch.load_file(out))` takes it.

    Args:
      workdir: of training or of `convert`.
      method: whose official code, a key of `methods.registry.with_networks`.
      stage: which of its networks ("motion", "render", "discriminator", "liveportrait/lip").
      out: the file to write, which must not exist; its folder is made.
      step: which checkpoint; by default the best by its metric, or else the latest.

    Raises:
      ConfigError: no such method or network, a release of several, or a working directory of
        another stage.
      CheckpointError: no such checkpoint, or none that holds the network.
      WeightsError: `out` exists, has another ending or cannot be written.
      TalkfaceError: the folder of `out` cannot be one.
    """
    source, target = pathlib.Path(workdir), pathlib.Path(out)
    if target.suffix != ".safetensors":
        raise WeightsError(f"--to-torch={target} must end in .safetensors; rename it")
    if target.exists():
        raise WeightsError(f"--to-torch={target} exists; choose another name or move it away")
    runtime.require_folder(target.parent, flag="the folder of --to-torch")
    network = _released(method, stage)
    if isinstance(network, TorchRelease):
        names = ", ".join(f"{stage}/{name}" for name in network.networks)
        raise ConfigError(
            f"--stage={stage} are several networks, and a safetensors file holds one; write each by"
            f" its own --stage ({names})"
        )
    stored = read_workdir_config(source)
    _check_stage(stored.method, stored.stage, method, stage, network, where=str(source))
    experiment = stored.freeze(type(network.config()))
    loaded, info = checkpoint.load_params(source, [network.player], step=step)
    tensors = network.write(loaded[network.player], experiment.task)
    metadata = {
        "method": experiment.method,
        "stage": stage,
        "checkpoint": info["checkpoint"],
        "averaged": json.dumps(bool(info["averaged"])),
        "lineage": json.dumps(info.get("lineage", {})),
        "converted_by": f"talkface_jax {__version__}",
    }
    torch_rules.write_safetensors(target, tensors, metadata)
    return TorchFile(target, len(tensors), info["checkpoint"])


def _released(method: str, stage: str) -> TorchNetwork | TorchRelease:
    known = torch_release.networks_by_name(registry.torch_networks(method))
    if stage not in known:
        raise ConfigError(
            f"--stage={stage} is no network of {method}; use one of {', '.join(known)}"
        )
    return known[stage]


def _check_stage(
    found_method: str,
    found_stage: str,
    method: str,
    stage: str,
    released: TorchNetwork | TorchRelease,
    *,
    where: str,
) -> None:
    if (found_method, found_stage) != (method, released.stage):
        what = "a release" if isinstance(released, TorchRelease) else "a network"
        raise ConfigError(
            f"{where} is of {found_method}/{found_stage}, but --stage={stage} is "
            f"{what} of {method}/{released.stage}; give one that fits"
        )


def _read(
    found: Found, config: Any, source: pathlib.Path
) -> tuple[dict[str, Variables], tuple[ConvertedNetwork, ...]]:
    """The variables of every network by player, and what was read for each."""
    variables: dict[str, Variables] = {}
    networks = []
    for item in found.sources:
        # One after the other: only one state_dict at a time lies in memory.
        tensors = item.tensors()
        read, ignored = item.network.read(tensors, config, source=str(item))
        variables[item.network.player] = read
        networks.append(
            ConvertedNetwork(
                name=item.name,
                player=item.network.player,
                source=_name(item.path, source),
                parameters=counts.count_leaves(read["params"]),
                tensors=len(tensors) - len(ignored),
                ignored=ignored,
            )
        )
    return variables, tuple(networks)


def _name(path: pathlib.Path, source: pathlib.Path) -> str:
    """A file's name: in a folder, its path there."""
    return path.name if path == source else path.relative_to(source).as_posix()


def _origin(
    stage: str, released: TorchNetwork | TorchRelease, found: Found, source: pathlib.Path
) -> dict[str, Any]:
    """Which files the networks come from, plain JSON."""
    files = [
        {
            "source": _name(path, source),
            "sha256": torch_file.file_sha256(path),
            "format": _format(path),
            "networks": [item.name for item in found.sources if item.path == path],
        }
        for path in dict.fromkeys(item.path for item in found.sources)
    ]
    if isinstance(released, TorchRelease):
        return {"release": stage, "files": files}
    (file,) = files
    del file["networks"]
    entries = [item.entry for item in found.sources if item.entry]
    return {**file, "entry": entries[0]} if entries else file


def _format(path: pathlib.Path) -> str:
    """Of a file that was read."""
    if not zipfile.is_zipfile(path):
        return "safetensors"
    with zipfile.ZipFile(path) as archive:
        plain = all(name.endswith(".npy") for name in archive.namelist())
    return "npz" if plain else "torch.save"
