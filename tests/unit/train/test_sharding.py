"""Where arrays lie, by shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from jax.sharding import PartitionSpec as P

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, TrainConfig
from talkface_jax.errors import ConfigError
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import (
    array_spec,
    check_parts,
    local_batch_size,
    make_mesh,
    state_shardings,
)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), P()),
        ((3, 3, 64, 128), P(None, None, None, "fsdp")),
        ((3, 3, 128, 128), P(None, None, None, "fsdp")),
        ((512, 80), P("fsdp")),
        ((130, 64), P(None, "fsdp")),
        ((4099, 3), P()),
        ((63,), P()),
    ],
)
def test_largest_divisible_axis_is_split(shape, expected):
    assert array_spec(shape, fsdp=4, min_shard_size=64) == expected


def test_one_way_fsdp_splits_nothing():
    assert array_spec((512, 512), fsdp=1, min_shard_size=1) == P()


def test_keys_and_small_leaves_stay_whole():
    mesh = make_mesh(MeshConfig(), devices=jax.devices()[:1])
    tree = {"rng": jax.random.key(0), "bias": jnp.zeros(8)}
    shapes = jax.eval_shape(lambda: tree)
    places = state_shardings(shapes, mesh, min_shard_size=4096)
    assert places["rng"].spec == P() and places["bias"].spec == P()


@pytest.mark.parametrize("config", [MeshConfig(data=2, fsdp=3), MeshConfig(fsdp=2)])
def test_mesh_that_does_not_fit_is_refused(config):
    with pytest.raises(ConfigError, match="does not fit 1 devices"):
        make_mesh(config, devices=jax.devices()[:1])


def test_indivisible_batch_is_refused_with_a_size_that_works():
    class Mesh:
        devices = np.zeros(8)

    assert local_batch_size(16, Mesh()) == 16
    with pytest.raises(ConfigError, match=r"batch_size 19 is not a multiple .*; use 16"):
        local_batch_size(19, Mesh())
    with pytest.raises(ConfigError, match="use 8"):
        local_batch_size(3, Mesh())


def test_parts_that_do_not_fill_the_devices_are_refused_with_a_size_that_works():
    class Mesh:
        devices = np.zeros(4)

    for size, parts in ((24, 1), (24, 2), (24, 3), (8, 2)):
        check_parts(size, Mesh(), parts=parts)
    message = r"data\.batch_size 20 is not a multiple of train\.accumulate x devices = 8; use 16 or"
    with pytest.raises(ConfigError, match=message):
        check_parts(20, Mesh(), parts=2)
    with pytest.raises(ConfigError, match=r"use 12 or another train\.accumulate"):
        check_parts(4, Mesh(), parts=3)


def test_run_checks_its_parts():
    config = ExperimentConfig(
        method="toy",
        stage="gan",
        task=toy.ToyConfig(),
        data=DataConfig(batch_size=8),
        train=TrainConfig(accumulate=3),
    )
    mesh = make_mesh(MeshConfig(), devices=jax.devices()[:1])
    with pytest.raises(
        ConfigError, match=r"batch_size 8 .* train\.accumulate x devices = 3; use 6"
    ):
        Programs(toy.GanTask(), config, mesh)
