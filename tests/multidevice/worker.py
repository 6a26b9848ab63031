"""One training step of a GAN stage on whatever devices and processes there are; results to a file.

    worker.py STAGE FSDP OUT [CHECKPOINT_DIR]

STAGE is toy, parts (the toy with its batch accumulated in two parts) or iplap. Initial values and
the batch are the same NumPy numbers everywhere.
"""

import pathlib
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "unit" / "train"))

import toy

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, TrainConfig
from talkface_jax.train import sharding
from talkface_jax.train.checkpoint import Checkpoints
from talkface_jax.train.distributed import initialize_from_env
from talkface_jax.train.programs import Programs
from talkface_jax.train.state import leaf_names

BATCH = 8
RNG_SEED = 7


def toy_stage():
    return toy.GanTask(toy.ToyConfig(width=16)), toy.make_batch(BATCH, 0), 1


def parts_stage():
    return toy.GanTask(toy.ToyConfig(width=16)), toy.make_batch(2 * BATCH, 0), 2


def iplap_stage():
    """IP-LAP's renderer with all of its loss terms, small."""
    from talkface_jax.methods.iplap.render.config import RenderConfig
    from talkface_jax.methods.iplap.render.task import RenderTask
    from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig

    net = ReferenceWarpingConfig(
        size=32,
        channels=4,
        deep=16,
        kernel=3,
        spade_hidden=8,
        weight_hidden=4,
        audio_width=16,
        audio_hidden=8,
        mel_channels=(4, 8, 8, 16),
    )
    task = RenderTask(
        RenderConfig(
            net=net,
            references=2,
            perceptual="vgg16",
            perceptual_scales=2,
            perceptual_layers=2,
            disc_channels=4,
        )
    )
    rng = np.random.default_rng(0)
    batch = {}
    for name, leaf in task.view.spec(BATCH).items():
        if np.issubdtype(leaf.dtype, np.integer):
            batch[name] = rng.integers(0, 255, leaf.shape).astype(leaf.dtype)
        else:
            # Log-mel values span [-4, 4]; in [0, 1] the samples are so alike that BatchNorm divides
            # by next to nothing, and rounding shows.
            low, high = (-4, 4) if name == "mel" else (0, 1)
            batch[name] = rng.uniform(low, high, leaf.shape).astype(leaf.dtype)
    return task, batch, 1


STAGES = {"toy": toy_stage, "parts": parts_stage, "iplap": iplap_stage}
"""Task, batch and the parts that the batch is computed in."""


def fill(shapes):
    """Initial values from NumPy: `jit(init)` costs more than the step.

    Under JAX_ENABLE_X64 they are float64, and so is everything that follows from them.
    """
    rng = np.random.default_rng(RNG_SEED)
    wide = jax.config.jax_enable_x64
    values = []
    for name, leaf in leaf_names(shapes).items():
        dtype = np.float64 if wide and leaf.dtype == np.float32 else leaf.dtype
        last = name.rsplit(".", 1)[-1]
        if name == "rng":
            values.append(jax.random.key(RNG_SEED))
        elif "opt_state" in name or last in ("step", "mean"):
            values.append(np.zeros(leaf.shape, dtype))
        elif last in ("scale", "var"):
            values.append(np.ones(leaf.shape, dtype))
        else:
            fan = max(int(np.prod(leaf.shape[:-1])), 1)
            draw = rng.standard_normal(leaf.shape) / np.sqrt(fan)
            values.append((draw * (0.1 if len(leaf.shape) < 2 else 1.0)).astype(dtype))
    return jax.tree.unflatten(jax.tree.structure(shapes), values)


def gradients(state):
    """After one step of Adam its first moment is 0.1 of the gradient."""
    return {
        name: leaf / 0.1
        for name, leaf in leaf_names(state).items()
        if ".opt_state." in name and ".mu." in name
    }


def main(stage, fsdp, out, checkpoints=None):
    initialize_from_env()
    task, batch, parts = STAGES[stage]()
    config = ExperimentConfig(
        method=task.method,
        stage=task.stage,
        task=task.config,
        data=DataConfig(batch_size=BATCH * parts),
        mesh=MeshConfig(fsdp=int(fsdp), min_shard_size=2),
        train=TrainConfig(steps=1, accumulate=parts),
    )
    mesh = sharding.make_mesh(config.mesh)
    programs = Programs(task, config, mesh)
    first = jax.process_index() * programs.rows
    local = {name: array[first : first + programs.rows] for name, array in batch.items()}
    places = programs.state_shardings
    fresh = fill(programs.state_shapes)
    state = jax.jit(lambda: fresh, out_shardings=places)()
    split = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    frozen = programs.put_frozen(task.frozen())
    state, metrics = programs.step_at(0)(state, frozen, sharding.put_batch(local, mesh))
    results = {**gradients(state), **metrics}
    if jax.process_count() > 1:
        results = multihost_utils.process_allgather(results, tiled=True)
    if checkpoints:
        with Checkpoints(pathlib.Path(checkpoints), config.train) as writer:
            writer.save(state, {"data": {}})
    if jax.process_index() == 0:
        np.savez(out, split=split, devices=jax.device_count(), **jax.device_get(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
