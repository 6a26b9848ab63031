"""`talkface describe`: what a config would build, without building it."""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from talkface_jax import api
from talkface_jax.cli import common
from talkface_jax.errors import WeightsError

HELP = "parameters, FLOPs and memory of a config"
DESCRIPTION = (
    """\
Counts what a config would build, from shapes alone and in a few seconds:
parameters of every network, memory of weights, optimiser state and one batch,
and floating-point operations of the forward pass and of every phase of
training (matrix products and convolutions; a multiply-add counts as two).

Activations are not in these figures: how much they take is the compiler's
choice. --compile compiles the training step for the devices at hand and asks
it, which takes up to a minute for a tiny config and longer for a base one.

"""
    + common.CONFIGS
)
EPILOG = """\
examples:
  talkface describe --config=configs/iplap/render.py:base
  talkface describe --config=configs/sinha2020/blink.py --json
  talkface describe --config=configs/speech/ctc29.py:tiny --compile \\
    --config.data.batch_size=8
"""
EXTRAS = ("train",)
TAKES_CONFIG = True


@dataclasses.dataclass(frozen=True)
class _Parts:
    """A config's task, its shapes, and the parameters of its frozen networks.

    `frozen` is None, with the reason in `missing`, where their file is not to be had.
    """

    config: Any
    task: Any
    batch: Mapping[str, Any]
    variables: Mapping[str, Any]
    frozen: Any
    missing: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    common.add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the training step and report the memory that it takes on these devices",
    )


def describe(config: Any, *, compiled: bool = False) -> dict[str, Any]:
    """Counts of one experiment: parameters and bytes by player, FLOPs, phases of training.

    Args:
      config: a frozen experiment.
      compiled: also compile every phase's step and ask the compiler for its memory.

    Raises:
      ConfigError: training would refuse it.
    """
    import jax
    import jax.numpy as jnp

    from talkface_jax.models import counts
    from talkface_jax.task import LAST

    parts = _parts(config)
    generating = {name: parts.variables[name] for name in parts.task.generators}

    def forward(variables: Any, frozen: Any, batch: Any, rng: jax.Array) -> Any:
        step = jnp.int32(LAST)
        return parts.task.forward(variables, frozen, batch, rng, step=step, train=False)[0]

    rng = jax.eval_shape(lambda: jax.random.key(0))
    try:
        flops = counts.count_flops(forward, generating, parts.frozen or {}, parts.batch, rng)
    except KeyError:
        # A path through a frozen network needs its file.
        if parts.frozen is not None:
            raise
        flops = None
    return {
        "method": config.method,
        "stage": config.stage,
        "batch_size": config.data.batch_size,
        "steps": config.train.steps,
        "players": {name: _player(parts, name) for name in parts.task.nets},
        "frozen": {
            name: {"parameters": counts.count_leaves(tree), "bytes": _nbytes(tree)}
            for name, tree in (parts.frozen or {}).items()
        },
        "forward_flops_per_sample": None if flops is None else flops / config.data.batch_size,
        "batch_bytes": _nbytes(parts.batch),
        "phases": _phases(parts, compiled=compiled),
    }


def _parts(config: Any) -> _Parts:
    import jax

    from talkface_jax.methods import registry
    from talkface_jax.train.programs import check_accumulation

    task = registry.build_task(config.method, config.stage, config.task)
    check_accumulation(task, config)
    batch = task.view.spec(config.data.batch_size)
    rng = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, rng, batch)
    try:
        frozen, missing = task.frozen(), ""
    except WeightsError as error:
        frozen, missing = None, str(error)
    return _Parts(config, task, batch, variables, frozen, missing)


def _nbytes(tree: Any) -> int:
    import jax
    import numpy as np

    return int(sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)))


def _player(parts: _Parts, name: str) -> dict[str, Any]:
    import jax

    from talkface_jax.models import counts
    from talkface_jax.train import optim

    config, params = parts.config, parts.variables[name]["params"]
    transform = optim.make_transforms(parts.task, config)[name]
    return {
        "role": "generates" if name in parts.task.generators else "judges",
        "parameters": counts.count_leaves(params),
        "parameter_bytes": _nbytes(params),
        "optimiser_bytes": _nbytes(jax.eval_shape(transform.init, params)),
    }


def _phases(parts: _Parts, *, compiled: bool) -> list[dict[str, Any]]:
    """The sets of objectives that are in force one after the other."""
    objectives, steps = parts.task.objectives, parts.config.train.steps
    borders = {0, *(item.start for item in objectives), *(item.stop or 0 for item in objectives)}
    starts = sorted(step for step in borders if step < steps)
    phases = []
    for start, stop in zip(starts, [*starts[1:], steps], strict=True):
        active = [item for item in objectives if item.active(start)]
        terms = {item.name: [term.name for term in item.terms] for item in active}
        phase = {"start": start, "stop": stop, "terms": terms}
        try:
            phase |= {"step_flops": _step_flops(parts, active), "not_counted": ""}
            if compiled:
                phase["compiled"] = _compiled_memory(parts, start)
        except KeyError:
            # Only a phase that reads the frozen networks needs their file.
            if parts.frozen is not None:
                raise
            phase |= {"step_flops": None, "not_counted": parts.missing}
        phases.append(phase)
    return phases


def _step_flops(parts: _Parts, active: list[Any]) -> int:
    import jax

    from talkface_jax.models import counts
    from talkface_jax.train import optim
    from talkface_jax.train.state import create_state
    from talkface_jax.train.step import make_train_step

    transforms = optim.make_transforms(parts.task, parts.config)
    state = jax.eval_shape(
        lambda batch: create_state(parts.task, transforms, seed=0, batch=batch), parts.batch
    )
    step = make_train_step(parts.task, transforms, active)
    return counts.count_flops(step, state, parts.frozen or {}, parts.batch)


def _compiled_memory(parts: _Parts, start: int) -> dict[str, Any]:
    """What the compiler plans for one device of this machine, in bytes."""
    import jax

    from talkface_jax.train import sharding
    from talkface_jax.train.programs import Programs

    programs = Programs(parts.task, parts.config, sharding.make_mesh(parts.config.mesh))
    step: Any = programs.step_at(start)
    plan = step.lower(programs.target, parts.frozen or {}, parts.batch).compile().memory_analysis()
    arguments, temporary = plan.argument_size_in_bytes, plan.temp_size_in_bytes
    # The new state takes the place of the old one.
    fresh = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return {
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "arguments": arguments,
        "temporary": temporary,
        "total": arguments + temporary + fresh,
    }


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _flops(count: float) -> str:
    for unit, scale in (("TFLOP", 1e12), ("GFLOP", 1e9)):
        if count >= scale:
            return f"{count / scale:,.2f} {unit}"
    return f"{count / 1e6:,.2f} MFLOP"


def run(args: argparse.Namespace) -> int:
    """Prints the tables or the JSON."""
    import json

    result = describe(api.load_experiment(args.config, args.overrides), compiled=args.compile)
    out = common.console()
    if args.json:
        out.print_json(json.dumps(result))
        return 0
    out.print(f"[bold]{result['method']}/{result['stage']}[/bold]  {args.config}", soft_wrap=True)
    out.print(_network_table(result))
    flops = result["forward_flops_per_sample"]
    forward = "not counted" if flops is None else _flops(flops)
    out.print(f"forward, one sample     {forward} (generating networks, as at inference)")
    out.print(f"one batch of {result['batch_size']:<10} {_size(result['batch_bytes'])}")
    out.print(_phase_table(result))
    for reason in dict.fromkeys(phase["not_counted"] for phase in result["phases"]):
        if reason:
            out.print(f"not counted: {reason}", soft_wrap=True)
    if args.compile:
        out.print("memory: of one device, as compiled for these; other devices plan differently")
    else:
        out.print("activations come on top; --compile asks the compiler how much they take")
    return 0


def _network_table(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table("network", "role")
    for name in ("parameters", "weights", "optimiser state"):
        table.add_column(name, justify="right")
    players = result["players"].values()
    for name, row in result["players"].items():
        weights, optimiser = _size(row["parameter_bytes"]), _size(row["optimiser_bytes"])
        table.add_row(name, row["role"], f"{row['parameters']:,}", weights, optimiser)
    for name, row in result["frozen"].items():
        table.add_row(name, "frozen", f"{row['parameters']:,}", _size(row["bytes"]), "")
    table.add_section()
    table.add_row(
        "trained",
        "",
        f"{sum(row['parameters'] for row in players):,}",
        _size(sum(row["parameter_bytes"] for row in players)),
        _size(sum(row["optimiser_bytes"] for row in players)),
    )
    return table


def _phase_table(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table("steps", "losses")
    table.add_column("one step", justify="right")
    compiled = any("compiled" in phase for phase in result["phases"])
    if compiled:
        table.add_column("memory", justify="right")
    for phase in result["phases"]:
        losses = "\n".join(f"{name}: {', '.join(t)}" for name, t in phase["terms"].items())
        flops = phase["step_flops"]
        row = [f"{phase['start']:,} to {phase['stop']:,}", losses]
        row.append("not counted" if flops is None else _flops(flops))
        if compiled:
            row.append(_size(phase["compiled"]["total"]) if "compiled" in phase else "")
        table.add_row(*row)
    return table
