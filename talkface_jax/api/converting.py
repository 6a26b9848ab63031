"""Weights of a method's official PyTorch code become a working directory, and back."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Mapping

from talkface_jax import __version__, runtime
from talkface_jax.api.experiments import load_workdir_experiment
from talkface_jax.api.kinds import Place
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.interop import torch_file, torch_rules
from talkface_jax.interop.torch_network import TorchNetwork
from talkface_jax.methods import registry
from talkface_jax.models import counts
from talkface_jax.train import checkpoint, initial

UNKNOWN_TERMS = "unknown; ask who trained these weights"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` read.

    Attributes:
      out: the working directory that was made.
      parameters: how many numbers the network has.
      tensors: how many tensors of the file found their place in it.
      ignored: the file's other tensors, left out on purpose: key -> the pattern that it matched.
      terms: under which terms the weights may be used.
    """

    out: pathlib.Path
    parameters: int
    tensors: int
    ignored: Mapping[str, str]
    terms: str


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
    """Reads one network of the official code into a working directory, as training makes them.

    Every tensor must have its place and its shape; nothing is guessed.

    Args:
      weights: a file of torch.save, safetensors or npz; nothing in it is run.
      method: whose official code, a key of `methods.registry.with_networks`.
      stage: which of its networks ("motion", "render", "discriminator").
      out: the directory to make; it may exist if it is empty.
      experiment: the sizes of the network, by default the published ones.
      terms: under which terms the weights, and the data behind them, may be used.
      where: what an error calls the experiment.

    Raises:
      ConfigError: no such method or network, or an experiment of another stage.
      WeightsError: a file that cannot be read or does not fit the network.
      CheckpointError: something lies at `out`, or it cannot be written.
      TalkfaceError: the folder of `out` cannot be one.
    """
    source, target = pathlib.Path(weights), pathlib.Path(out)
    runtime.require_folder(target.parent, flag="the folder of --out")
    network = _network(method, stage)
    if experiment is None:
        task_class = registry.task_class(method, network.stage)
        experiment = ExperimentConfig(method, network.stage, task_class.config_class())
    _check_stage(experiment, method, stage, network, where=where)
    initial.check_target(target)
    tensors = torch_file.read_state_dict(source)
    variables, ignored = network.read(tensors, experiment.task, source=str(source))
    lineage = {
        "source": source.name,
        "sha256": torch_file.file_sha256(source),
        "format": _format(source),
        "terms": terms or UNKNOWN_TERMS,
        "converted_by": f"talkface_jax {__version__}",
    }
    info = {"method": experiment.method, "stage": experiment.stage, "lineage": lineage}
    initial.write_variables(target, experiment, {network.player: variables}, info)
    return Conversion(
        out=target,
        parameters=counts.count_leaves(variables["params"]),
        tensors=len(tensors) - len(ignored),
        ignored=ignored,
        terms=lineage["terms"],
    )


def to_torch(
    workdir: Place, *, method: str, stage: str, out: Place, step: int | None = None
) -> TorchFile:
    """Writes the network in a working directory as a safetensors file for the official code.

    There, `net.load_state_dict(safetensors.torch.load_file(out))` takes it.

    Args:
      workdir: of training or of `convert`.
      method: whose official code, a key of `methods.registry.with_networks`.
      stage: which of its networks ("motion", "render", "discriminator").
      out: the file to write, which must not exist; its folder is made.
      step: which checkpoint; by default the best by its metric, or else the latest.

    Raises:
      ConfigError: no such method or network, or a working directory of another stage.
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
    network = _network(method, stage)
    experiment = load_workdir_experiment(source)
    _check_stage(experiment, method, stage, network, where=str(source))
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


def _network(method: str, stage: str) -> TorchNetwork:
    networks = registry.torch_networks(method)
    if stage not in networks:
        raise ConfigError(
            f"--stage={stage} is no network of {method}; use one of {', '.join(networks)}"
        )
    return networks[stage]


def _check_stage(
    experiment: ExperimentConfig, method: str, stage: str, network: TorchNetwork, *, where: str
) -> None:
    if (experiment.method, experiment.stage) != (method, network.stage):
        raise ConfigError(
            f"{where} is of {experiment.method}/{experiment.stage}, but --stage={stage} is a "
            f"network of {method}/{network.stage}; give one that fits"
        )


def _format(path: pathlib.Path) -> str:
    """Of a file that was read."""
    if not zipfile.is_zipfile(path):
        return "safetensors"
    with zipfile.ZipFile(path) as archive:
        plain = all(name.endswith(".npy") for name in archive.namelist())
    return "npz" if plain else "torch.save"
