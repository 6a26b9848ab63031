"""Device mesh, and which array lies where on it.

Parameters and optimiser state are split by their shapes over the axis `fsdp` (fully sharded data
parallelism), batches over `data` x `fsdp`; XLA inserts the collectives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from talkface_jax.config import MeshConfig
from talkface_jax.errors import ConfigError

AXES = ("data", "fsdp")


def make_mesh(config: MeshConfig, *, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over all devices of all processes.

    Raises:
      ConfigError: data x fsdp is not the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    count = len(devices)
    data = count // config.fsdp if config.data == -1 else config.data
    if data < 1 or data * config.fsdp != count:
        raise ConfigError(
            f"config: mesh.data x mesh.fsdp = {config.data} x {config.fsdp} does not fit {count} "
            "devices; leave mesh.data at -1 and let mesh.fsdp divide their number"
        )
    # Explicit axes, jax's default, refuse convolutions with sharded kernels.
    return jax.make_mesh(
        (data, config.fsdp), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )


def array_spec(shape: Sequence[int], *, fsdp: int, min_shard_size: int) -> PartitionSpec:
    """Splits the largest axis that `fsdp` divides; small arrays stay whole on every device."""
    if fsdp == 1 or int(np.prod(shape)) < min_shard_size:
        return PartitionSpec()
    divisible = [axis for axis, size in enumerate(shape) if size and size % fsdp == 0]
    if not divisible:
        return PartitionSpec()
    # The last of equally large axes: the output channels of a square kernel.
    chosen = max(divisible, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*[None] * chosen, "fsdp")


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def state_shardings(shapes: Any, mesh: Mesh, *, min_shard_size: int) -> Any:
    """A sharding for every leaf of a tree of shapes (`jax.eval_shape`)."""

    def place(leaf: Any) -> NamedSharding:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return replicated(mesh)
        fsdp = mesh.shape["fsdp"]
        spec = array_spec(leaf.shape, fsdp=fsdp, min_shard_size=min_shard_size)
        return NamedSharding(mesh, spec)

    return jax.tree.map(place, shapes)


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """The same shapes, each with its place: what a checkpoint is restored into."""
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        shardings,
    )


def local_batch_size(global_size: int, mesh: Mesh) -> int:
    """Rows of a batch that this process supplies.

    Raises:
      ConfigError: the devices do not divide the batch.
    """
    devices = mesh.devices.size
    if global_size % devices:
        raise ConfigError(
            f"config: data.batch_size {global_size} is not a multiple of the {devices} devices; "
            f"use --config.data.batch_size={max(devices, global_size // devices * devices)}"
        )
    return global_size // jax.process_count()


def check_parts(global_size: int, mesh: Mesh, *, parts: int) -> None:
    """Checks that every part of an accumulated batch fills all devices evenly.

    Raises:
      ConfigError: it does not.
    """
    unit = parts * mesh.devices.size
    if global_size % unit:
        raise ConfigError(
            f"config: data.batch_size {global_size} is not a multiple of train.accumulate x devices"
            f" = {unit}; use --config.data.batch_size={max(unit, global_size // unit * unit)} or "
            "another --config.train.accumulate"
        )


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Host arrays, the same in every process, whole on every device."""
    place = replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(place, np.asarray(leaf)), tree
    )


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Global arrays from the rows that this process read."""
    place = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(place, np.asarray(array))
        for name, array in batch.items()
    }
