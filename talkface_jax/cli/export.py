"""`talkface export`: checkpoints of a method's stages become one bundle."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from talkface_jax.cli import common
from talkface_jax.errors import ConfigError

HELP = "checkpoints -> a bundle that runs anywhere"
DESCRIPTION = """\
Writes a bundle: the networks as jax.export programs (CPU, CUDA and TPU from
any machine), their weights as safetensors, the config, and a manifest with
checksums and the lineage of the weights (data, licence, checkpoints).

A bundle holds one method: give the working directory of every stage of it.
"""
EPILOG = """\
examples:
  talkface export --motion=out/motion --render=out/render --out=out/bundle
  talkface export --motion=out/sinha2020/motion --blink=out/sinha2020/blink \\
    --render=out/sinha2020/render --out=out/bundle
"""
EXTRAS = ("train",)


def add_stage_arguments(parser: argparse.ArgumentParser, *, title: str) -> None:
    """A flag for every stage that some method has, below which flags each method needs."""
    from talkface_jax.methods import registry

    needed = []
    for method in registry.METHODS:
        flags = [f"--{stage}" for name, stage in registry.TASKS if name == method]
        needed.append(f"{method} needs {' '.join(flags)}")
    group = parser.add_argument_group(title, "\n".join(needed))
    for stage in registry.stages():
        group.add_argument(
            f"--{stage}",
            type=pathlib.Path,
            metavar="DIR",
            help=f"of the {stage} stage, from talkface train or convert",
        )


def given_stages(args: argparse.Namespace) -> dict[str, pathlib.Path]:
    """The working directories that were given, by stage."""
    from talkface_jax.methods import registry

    found = {stage: getattr(args, stage) for stage in registry.stages()}
    return {stage: path for stage, path in found.items() if path is not None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="bundle directory"
    )
    add_stage_arguments(parser, title="working directories, of every stage of one method")


def _load_stages(workdirs: Mapping[str, pathlib.Path]) -> dict[str, Any]:
    """The experiments of working directories by stage.

    Raises:
      ConfigError: a directory without a config, of another stage, or of another method than the
        first, or a stage of that method is missing.
    """
    from talkface_jax.methods import registry

    experiments = {stage: common.load_workdir_experiment(path) for stage, path in workdirs.items()}
    method = next(iter(experiments.values())).method
    for stage, experiment in experiments.items():
        if experiment.stage != stage:
            raise ConfigError(
                f"{workdirs[stage]} holds a {experiment.stage} stage; give it as "
                f"--{experiment.stage}"
            )
        if experiment.method != method:
            raise ConfigError(
                f"{workdirs[stage]} is of method {experiment.method}, but the stages before it are "
                f"of {method}; give stages of one method"
            )
    wanted = registry.get_method(method).stages
    if missing := [f"--{stage}" for stage in wanted if stage not in experiments]:
        raise ConfigError(
            f"{method} has the stages {', '.join(wanted)}; give {' and '.join(missing)} too"
        )
    return {stage: experiments[stage] for stage in wanted}


def export_stages(workdirs: Mapping[str, pathlib.Path], out: pathlib.Path) -> Any:
    """Writes the bundle of working directories by stage; returns its manifest.

    Raises:
      TalkfaceError: a directory that is not of its stage or holds no such network, weights that do
        not fit their config, or an `out` that cannot be written.
    """
    from talkface_jax.config import to_dict
    from talkface_jax.export import bundle
    from talkface_jax.methods import registry
    from talkface_jax.train import checkpoint

    experiments = _load_stages(workdirs)
    bundle.check_target(out)
    method = registry.get_method(next(iter(experiments.values())).method)
    variables, lineage = {}, {}
    programs = method.programs({stage: item.task for stage, item in experiments.items()})
    for stage, experiment in experiments.items():
        players = sorted({item.player for item in programs if item.stage == stage})
        loaded, info = checkpoint.load_params(workdirs[stage], players)
        variables.update(loaded)
        lineage[stage] = {**info, "config": to_dict(experiment)}
    return bundle.write_bundle(
        method,
        programs,
        variables=variables,
        configs={stage: item.task for stage, item in experiments.items()},
        lineage=lineage,
        out=out,
    )


def run(args: argparse.Namespace) -> int:
    """Exports; prints what lies in the bundle."""
    from talkface_jax import runtime

    workdirs = given_stages(args)
    if not workdirs:
        args.parser.error("give the working directory of every stage, for example --motion=DIR")
    common.require_folder(args.out.parent, flag="the folder of --out")
    runtime.enable_compilation_cache()
    written = export_stages(workdirs, args.out)
    out = common.console()
    out.print(f"bundle {args.out}: method {written.method}, weights {written.weight_id}")
    for path in sorted(args.out.iterdir()):
        out.print(f"  {path.name:<28} {path.stat().st_size:>12,} bytes")
    return 0
