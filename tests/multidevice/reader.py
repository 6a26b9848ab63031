"""Reads some batches as one of several processes; every process writes what it got.

    reader.py DIRECTORY OUT COUNT [STATE]

OUT-<process>.npz gets this process's rows batch by batch, the global batches as all processes
gathered them, and the position behind them as JSON.
"""

import json
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

from talkface_jax.config import DataConfig, MeshConfig
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.train import sharding
from talkface_jax.train.distributed import initialize_from_env
from talkface_jax.train.feed import DeviceBatches
from talkface_jax.train.source import PreparedSource

BATCH = 8
VIEW = MotionView(references=2, flip=True, scale_jitter=0.1)


def main(directory, out, count, state="null"):
    initialize_from_env()
    mesh = sharding.make_mesh(MeshConfig())
    rows = sharding.local_batch_size(BATCH, mesh)
    source = PreparedSource(DataConfig(directory=directory, threads=1), evaluates=False)
    read = source.train(VIEW, batch_size=rows, seed=3)
    if json.loads(state) is not None:
        read.set_state(json.loads(state))
    batches = DeviceBatches(read, mesh)
    own, whole = [], []
    for _ in range(int(count)):
        points = next(batches)["pose"]
        batches.prefetch()
        own.append(np.concatenate([np.asarray(part.data) for part in points.addressable_shards]))
        whole.append(multihost_utils.process_allgather(points, tiled=True))
    np.savez(
        f"{out}-{jax.process_index()}.npz",
        own=own,
        whole=whole,
        state=json.dumps(batches.get_state()),
    )
    read.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
