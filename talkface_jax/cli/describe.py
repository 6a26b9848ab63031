"""`talkface describe`: what a config would build, without building it."""

import argparse

from talkface_jax.cli import common

HELP = "parameters, FLOPs and memory of a config"
DESCRIPTION = """\
Counts what a config would build, from shapes alone: parameters of every
network, floating-point operations of one training step and one forward pass,
and the memory of parameters, optimiser state and one batch.
"""
EPILOG = """\
example:
  talkface describe --config=configs/iplap/render.py:base
"""
TAKES_CONFIG = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    common.add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError(count)


def describe(config) -> dict:
    """Counts of one experiment, from shapes alone: parameters by player, FLOPs, bytes."""
    import jax
    import numpy as np

    from talkface_jax.methods import registry
    from talkface_jax.models import counts
    from talkface_jax.train import optim

    task = registry.build_task(config.method, config.stage, config.task)
    batch = task.view.spec(config.data.batch_size)
    rng = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(task.init, rng, batch)

    def nbytes(tree) -> int:
        leaves = jax.tree.leaves(tree)
        return int(sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))

    players = {}
    for name, item in variables.items():
        transform = optim.make_transform(config.optim_of(name), updates=config.train.steps)
        state = jax.eval_shape(transform.init, item["params"])
        players[name] = {
            "parameters": int(sum(np.prod(x.shape) for x in jax.tree.leaves(item["params"]))),
            "parameter_bytes": nbytes(item["params"]),
            "optimiser_bytes": nbytes(state),
        }
    generating = {name: variables[name] for name in task.generators}

    def forward(variables, batch, rng):
        return task.forward(variables, batch, rng, train=False)[0]

    flops = counts.count_flops(forward, generating, batch, rng)
    return {
        "method": config.method,
        "stage": config.stage,
        "batch_size": config.data.batch_size,
        "players": players,
        "forward_flops_per_sample": flops / config.data.batch_size,
        "batch_bytes": nbytes(batch),
    }


def run(args: argparse.Namespace) -> int:
    """Prints the table or the JSON."""
    import json

    result = describe(common.load_experiment(args.config, args.overrides))
    out = common.console()
    if args.json:
        out.print_json(json.dumps(result))
        return 0
    from rich.table import Table

    table = Table(title=f"{result['method']}/{result['stage']} ({args.config})")
    for name in ("network", "parameters", "weights", "optimiser state"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for name, row in result["players"].items():
        table.add_row(
            name,
            f"{row['parameters']:,}",
            _size(row["parameter_bytes"]),
            _size(row["optimiser_bytes"]),
        )
    out.print(table)
    gflop = result["forward_flops_per_sample"] / 1e9
    out.print(f"generating path, forward   {gflop:,.3f} GFLOP a sample")
    out.print(
        f"one batch of {result['batch_size']:<13} {_size(result['batch_bytes'])}",
    )
    return 0
