"""Where arrays lie, by shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from talkface_jax.config import MeshConfig
from talkface_jax.errors import ConfigError
from talkface_jax.train.sharding import array_spec, local_batch_size, make_mesh, state_shardings


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
