"""Where arrays lie, by shape, on devices that need not exist; with devices: tests/multidevice."""

import ast
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from jax.sharding import AbstractMesh

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, TrainConfig
from talkface_jax.errors import ConfigError
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import (
    AXES,
    check_parts,
    local_batch_size,
    make_mesh,
    state_shardings,
)
from talkface_jax.train.state import leaf_names

WAYS = (1, 2, 4, 8, 64)
MIN_SHARD_SIZE = 64


def abstract_mesh(fsdp):
    """A mesh of twice as many devices that nobody has."""
    return AbstractMesh((2, fsdp), AXES)


def arrays(*shapes):
    return {str(shape): jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes}


def held(shapes, fsdp):
    """By leaf: the elements that every device holds, and its shard's shape."""
    mesh = abstract_mesh(fsdp)
    places = state_shardings(shapes, mesh, min_shard_size=MIN_SHARD_SIZE)
    parts = {name: place.shard_shape(shapes[name].shape) for name, place in places.items()}
    return {name: (math.prod(part), part) for name, part in parts.items()}


# Kernels, matrices, vectors and single numbers; sizes that 2, 4, 8 and 64 divide, or not.
DRAW = np.random.default_rng(0)
SHAPES = {
    tuple(int(DRAW.choice([1, 3, 5, 6, 8, 12, 64, 80, 128, 320])) for _ in range(axes))
    for axes in (0, 1, 1, 2, 2, 2, 4, 4)
    for _ in range(20)
}


@pytest.mark.parametrize("fsdp", WAYS)
def test_a_device_holds_its_part_of_each_array_that_can_be_split(fsdp):
    split = 0
    for name, (elements, part) in held(arrays(*SHAPES), fsdp).items():
        shape = ast.literal_eval(name)
        possible = math.prod(shape) >= MIN_SHARD_SIZE and any(n % fsdp == 0 for n in shape)
        assert elements == math.prod(shape) // (fsdp if possible else 1), name
        assert all(whole % own == 0 for whole, own in zip(shape, part, strict=True)), name
        split += elements < math.prod(shape)
    assert (split > 10) == (fsdp > 1)


@pytest.mark.parametrize("fsdp", WAYS[1:])
def test_what_is_small_or_indivisible_is_whole_everywhere(fsdp):
    small = arrays((), (1,), (63,), (1, 7, 9), (fsdp - 1,))
    odd = arrays((4099, 3), (3, 3, 67, 67))
    for name, (_, part) in held({**small, **odd}, fsdp).items():
        assert part == ast.literal_eval(name)


def test_random_keys_are_whole():
    shapes = {"key": jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 128))}
    places = state_shardings(shapes, abstract_mesh(8), min_shard_size=1)
    assert places["key"].shard_shape((128,)) == (128,)


def test_a_training_state_falls_with_the_devices():
    """The toy's, with every kernel large enough: what stays whole is counted, and little."""
    config = ExperimentConfig("toy", "gan", toy.ToyConfig(width=64), data=DataConfig(batch_size=1))
    mesh = make_mesh(MeshConfig(), devices=jax.devices()[:1])
    state = Programs(toy.GanTask(toy.ToyConfig(width=64)), config, mesh).state_shapes
    shapes = {k: v for k, v in leaf_names(state).items() if k != "rng"}
    whole = {name: elements for name, (elements, _) in held(shapes, 1).items()}
    for fsdp in (2, 4, 8):
        now = {name: elements for name, (elements, _) in held(shapes, fsdp).items()}
        stays = {name for name in whole if now[name] == whole[name]}
        assert all(now[name] * fsdp == whole[name] for name in set(whole) - stays)
        assert all(whole[name] < MIN_SHARD_SIZE for name in stays)


@pytest.mark.parametrize("config", [MeshConfig(data=2, fsdp=3), MeshConfig(fsdp=2)])
def test_mesh_that_does_not_fit_is_refused(config):
    with pytest.raises(ConfigError, match="does not fit 1 devices"):
        make_mesh(config, devices=jax.devices()[:1])


def test_indivisible_batch_is_refused_with_a_size_that_works():
    class Mesh:
        devices = np.zeros(8)

    assert local_batch_size(16, Mesh()) == 16
    with pytest.raises(
        ConfigError, match=r"batch_size 19 is not a multiple .*; use --config\.data\.batch_size=16$"
    ):
        local_batch_size(19, Mesh())
    with pytest.raises(ConfigError, match=r"use --config\.data\.batch_size=8$"):
        local_batch_size(3, Mesh())


def test_parts_that_do_not_fill_the_devices_are_refused_with_a_size_that_works():
    class Mesh:
        devices = np.zeros(4)

    for size, parts in ((24, 1), (24, 2), (24, 3), (8, 2)):
        check_parts(size, Mesh(), parts=parts)
    message = r"data\.batch_size 20 is not a multiple of train\.accumulate x devices = 8; "
    message += r"use --config\.data\.batch_size=16 or another --config\.train\.accumulate$"
    with pytest.raises(ConfigError, match=message):
        check_parts(20, Mesh(), parts=2)
    with pytest.raises(ConfigError, match=r"use --config\.data\.batch_size=12 or another "):
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
        ConfigError,
        match=r"batch_size 8 .* train\.accumulate x devices = 3; use --config\.data\.batch_size=6",
    ):
        Programs(toy.GanTask(), config, mesh)
