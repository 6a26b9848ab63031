"""`talkface convert`: PyTorch weights become a checkpoint directory, and back."""

import argparse
import collections
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

from talkface_jax import __version__
from talkface_jax.cli import common
from talkface_jax.errors import ConfigError, WeightsError

HELP = "weights of the official PyTorch code -> a checkpoint, and back"
DESCRIPTION = """\
Reads one network of a method's official PyTorch code (a file of torch.save,
safetensors or npz; nothing in it is run) into a working directory that
`talkface export`, `talkface synthesize` and `talkface train --init-from` take.
Every tensor must have its place and its shape; nothing is guessed. --config
is needed where the network does not have the published sizes.

With --to-torch it goes back: the network in a working directory becomes a
safetensors file for the official code,
net.load_state_dict(safetensors.torch.load_file(FILE)).
"""
EPILOG = """\
examples:
  talkface convert --method=iplap --stage=motion --torch=landmark.pth \\
    --out=out/official/motion --terms="non-commercial research (LRS2)"
  talkface convert --method=iplap --stage=discriminator --torch=disc.pth \\
    --out=out/official/disc
  talkface convert --method=iplap --stage=render --from=out/render \\
    --to-torch=renderer.safetensors
"""
EXTRAS = ("train",)
TAKES_CONFIG = True
UNKNOWN_TERMS = "unknown; ask who trained these weights"
_FORWARDS, _BACK = ("out", "config", "terms"), ("from", "step")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    from talkface_jax.methods import registry

    parser.add_argument(
        "--method", required=True, help=f"whose official code: {', '.join(registry.WEIGHTS)}"
    )
    parser.add_argument(
        "--stage", required=True, help="which network: motion, render or discriminator"
    )
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument(
        "--torch", type=pathlib.Path, metavar="FILE", help="weights to read, with --out"
    )
    direction.add_argument(
        "--to-torch",
        type=pathlib.Path,
        metavar="FILE.safetensors",
        help="weights to write, with --from",
    )
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="directory to make")
    common.add_config_argument(parser, required=False)
    parser.add_argument(
        "--terms", help="under which terms the weights, and the data behind them, may be used"
    )
    parser.add_argument("--from", type=pathlib.Path, metavar="DIR", help="working directory")
    parser.add_argument(
        "--step",
        type=common.at_least(0),
        help="which checkpoint (default: the best by its metric, or else the latest)",
    )


def run(args: argparse.Namespace) -> int:
    """Converts in the direction that the flags say; prints what was written."""
    forwards = args.torch is not None
    used, unused = (_FORWARDS, _BACK) if forwards else (_BACK, _FORWARDS)
    flag = "--torch" if forwards else "--to-torch"
    for name in unused:
        if getattr(args, name) is not None:
            args.parser.error(f"--{name} does not go with {flag}")
    if getattr(args, used[0]) is None:
        args.parser.error(f"{flag} needs --{used[0]}=DIR")
    if args.overrides and args.config is None:
        args.parser.error("--config.a.b=value needs --config=FILE")
    return _read(args) if forwards else _write(args)


def _network(method: str, stage: str) -> Any:
    from talkface_jax.methods import registry

    networks = registry.torch_networks(method)
    if stage not in networks:
        raise ConfigError(
            f"--stage={stage} is no network of {method}; use one of {', '.join(networks)}"
        )
    return networks[stage]


def _experiment(args: argparse.Namespace, stage: str) -> Any:
    """The experiment of `--config`, or of the published sizes."""
    from talkface_jax.config import ExperimentConfig
    from talkface_jax.methods import registry

    if args.config is None:
        task_class = registry.task_class(args.method, stage)
        return ExperimentConfig(args.method, stage, task_class.config_class())
    experiment = common.load_experiment(args.config, args.overrides)
    _check_stage(experiment, args, stage, where=args.config)
    return experiment


def _check_stage(experiment: Any, args: argparse.Namespace, stage: str, *, where: Any) -> None:
    if (experiment.method, experiment.stage) != (args.method, stage):
        raise ConfigError(
            f"{where} is of {experiment.method}/{experiment.stage}, but --stage={args.stage} is a "
            f"network of {args.method}/{stage}; give one that fits"
        )


def _read(args: argparse.Namespace) -> int:
    common.require_folder(args.out.parent, flag="the folder of --out")
    network = _network(args.method, args.stage)
    experiment = _experiment(args, network.stage)
    from talkface_jax.interop import torch_file, torch_rules
    from talkface_jax.models import counts
    from talkface_jax.train import initial

    initial.check_target(args.out)
    rules, template = network.rules(experiment.task), network.template(experiment.task)
    tensors = torch_file.read_state_dict(args.torch)
    variables = torch_rules.from_torch(tensors, rules, template, source=str(args.torch))
    lineage = {
        "source": args.torch.name,
        "sha256": torch_file.file_sha256(args.torch),
        "format": _format(args.torch),
        "terms": args.terms or UNKNOWN_TERMS,
        "converted_by": f"talkface_jax {__version__}",
    }
    info = {"method": experiment.method, "stage": experiment.stage, "lineage": lineage}
    initial.write_variables(args.out, experiment, {network.player: variables}, info)
    ignored = torch_rules.ignored(tensors, rules)
    out = common.console()
    out.print(
        f"{args.out}: {args.method} {args.stage}, {counts.count_leaves(variables['params']):,} "
        f"parameters from {len(tensors) - len(ignored)} tensors of {args.torch.name}; "
        f"{_listed(ignored)}",
        soft_wrap=True,
        markup=False,
    )
    out.print(f"terms: {lineage['terms']}", soft_wrap=True, markup=False)
    return 0


def _format(path: pathlib.Path) -> str:
    """Of a file that was read."""
    if not zipfile.is_zipfile(path):
        return "safetensors"
    with zipfile.ZipFile(path) as archive:
        plain = all(name.endswith(".npy") for name in archive.namelist())
    return "npz" if plain else "torch.save"


def _listed(ignored: Mapping[str, str]) -> str:
    """How many tensors each pattern left out on purpose, from patterns by key."""
    counts = collections.Counter(ignored.values())
    names = ", ".join(f"{count} x {pattern}" for pattern, count in counts.items())
    return f"{len(ignored)} ignored by name ({names})" if ignored else "none ignored"


def _write(args: argparse.Namespace) -> int:
    target, workdir = args.to_torch, getattr(args, "from")
    if target.suffix != ".safetensors":
        raise WeightsError(f"--to-torch={target} must end in .safetensors; rename it")
    if target.exists():
        raise WeightsError(f"--to-torch={target} exists; choose another name or move it away")
    common.require_folder(target.parent, flag="the folder of --to-torch")
    network = _network(args.method, args.stage)
    experiment = common.load_workdir_experiment(workdir)
    _check_stage(experiment, args, network.stage, where=workdir)
    from talkface_jax.interop import torch_rules
    from talkface_jax.train import checkpoint

    rules = network.rules(experiment.task)
    loaded, info = checkpoint.load_params(workdir, [network.player], step=args.step)
    tensors = torch_rules.to_torch(loaded[network.player], rules)
    metadata = {
        "method": experiment.method,
        "stage": args.stage,
        "checkpoint": info["checkpoint"],
        "averaged": json.dumps(bool(info["averaged"])),
        "lineage": json.dumps(info.get("lineage", {})),
        "converted_by": f"talkface_jax {__version__}",
    }
    torch_rules.write_safetensors(target, tensors, metadata)
    common.console().print(
        f"{target}: {args.method} {args.stage}, {len(tensors)} tensors of {info['checkpoint']}",
        soft_wrap=True,
        markup=False,
    )
    return 0
