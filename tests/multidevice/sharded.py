"""One state on eight devices, whole and in parts: where it lies, stored, restored and computed on.

    sharded.py OUT CHECKPOINT_DIR

OUT (npz) gets, for fsdp 1, 4 and 8, FSDP/before/LEAF and FSDP/after/LEAF: the restored state's
leaves and those after one step; FSDP/bytes/LEAF: what each device holds of a leaf; FSDP/loss/NAME;
first/LEAF: the values before anything was stored; min_shard_size. The state is stored with fsdp 4.
"""

import pathlib
import sys

import jax
import numpy as np
from worker import fill, toy_stage

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, TrainConfig
from talkface_jax.train import sharding
from talkface_jax.train.checkpoint import Checkpoints
from talkface_jax.train.programs import Programs
from talkface_jax.train.state import leaf_names, plain_leaves

MIN_SHARD_SIZE = 32


def numbers(state):
    """A copy of all leaves on the host, random keys as their data."""
    return {name: np.array(leaf) for name, leaf in plain_leaves(state).items()}


def bytes_by_device(state):
    return {
        name: np.array([part.data.nbytes for part in leaf.addressable_shards])
        for name, leaf in leaf_names(state).items()
        if name != "rng"
    }


def main(out, directory):
    task, batch, _ = toy_stage()
    config = ExperimentConfig(
        method=task.method,
        stage=task.stage,
        task=task.config,
        data=DataConfig(batch_size=8),
        mesh=MeshConfig(fsdp=4, min_shard_size=MIN_SHARD_SIZE),
        train=TrainConfig(steps=1),
    )
    meshes = {n: sharding.make_mesh(MeshConfig(fsdp=n)) for n in (1, 4, 8)}
    programs = {n: Programs(task, config, mesh) for n, mesh in meshes.items()}
    fresh = fill(programs[4].state_shapes)
    state = jax.jit(lambda: fresh, out_shardings=programs[4].state_shardings)()
    found = {f"first/{name}": leaf for name, leaf in numbers(state).items()}
    with Checkpoints(pathlib.Path(directory), config.train) as checkpoints:
        checkpoints.save(state, {"data": {}})
        checkpoints.wait()
        step = checkpoints.latest_step
        assert step is not None
        for n, program in programs.items():
            state = checkpoints.restore(program.target, step=step).state
            found |= {f"{n}/before/{name}": leaf for name, leaf in numbers(state).items()}
            found |= {f"{n}/bytes/{name}": held for name, held in bytes_by_device(state).items()}
            placed = sharding.put_batch(batch, program.mesh)
            state, metrics = program.step_at(0)(state, program.put_frozen({}), placed)
            found |= {f"{n}/after/{name}": leaf for name, leaf in numbers(state).items()}
            found |= {f"{n}/loss/{name}": value for name, value in metrics.items()}
    np.savez(out, min_shard_size=MIN_SHARD_SIZE, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
