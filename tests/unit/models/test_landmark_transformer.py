import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks.align import static_mouth
from talkface_jax.models.counts import count_params
from talkface_jax.models.motion.landmark_transformer import (
    SMALL,
    LandmarkTransformer,
    LandmarkTransformerConfig,
)

TINY = dataclasses.replace(SMALL, width=16, layers=1, heads=2, mlp=16)


def shapes(batch=2, references=3):
    return (
        jax.ShapeDtypeStruct((batch, 5, 80, 16), jnp.float32),
        jax.ShapeDtypeStruct((batch, 5, 74, 2), jnp.float32),
        jax.ShapeDtypeStruct((batch, references, 74, 2), jnp.float32),
        jax.ShapeDtypeStruct((batch, references, 57, 2), jnp.float32),
    )


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    face = rng.uniform(0.1, 0.9, (2, 1, 131, 2))
    pose = face[:, :, :74] * 1.1 - 0.03 + 0.001 * rng.normal(size=(2, 5, 74, 2))
    reference = face + 0.003 * rng.normal(size=(2, 3, 131, 2))
    arrays = (rng.normal(size=(2, 5, 80, 16)), pose, reference[:, :, :74], reference[:, :, 74:])
    return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


def variables(config, seed=0):
    """Filled by NumPy, for a jitted init costs seconds."""
    rng = np.random.default_rng(seed)
    tree = jax.eval_shape(LandmarkTransformer(config).init, jax.random.key(0), *shapes())

    def draw(leaf):
        if leaf.ndim < 2:
            return jnp.asarray(rng.uniform(0.2, 1.0, leaf.shape), jnp.float32)
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
        return jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32)

    return jax.tree.map(draw, tree)


def test_published_network_has_the_published_size():
    assert count_params(LandmarkTransformer(LandmarkTransformerConfig()), *shapes()) == 13_724_394


def test_small_network_is_small():
    assert 600_000 < count_params(LandmarkTransformer(SMALL), *shapes()) < 800_000


def test_residual_head_starts_from_the_static_mouth(inputs):
    net = LandmarkTransformer(TINY)
    filled = variables(TINY)
    filled["params"]["lips"] = jax.tree.map(jnp.zeros_like, filled["params"]["lips"])
    filled["params"]["jaw"] = jax.tree.map(jnp.zeros_like, filled["params"]["jaw"])
    out = net.apply(filled, *inputs)
    for index in range(2):
        pose, reference_pose, reference_content = (np.asarray(x[index]) for x in inputs[1:])
        expected = static_mouth(reference_pose, reference_content, pose)
        np.testing.assert_allclose(out[index], expected, atol=2e-4)


def test_initial_residual_is_near_zero(inputs):
    net = LandmarkTransformer(TINY)
    fresh = net.init(jax.random.key(0), *inputs)
    zero = jax.tree.map(lambda x: x, fresh)
    for head in ("lips", "jaw"):
        zero["params"][head] = jax.tree.map(jnp.zeros_like, zero["params"][head])
    change = jnp.abs(net.apply(fresh, *inputs) - net.apply(zero, *inputs))
    assert 0 < float(change.max()) < 0.03


@pytest.mark.parametrize("encoder", ["dense", "conv"])
def test_every_input_matters_and_lips_follow_the_sound(inputs, encoder):
    config = dataclasses.replace(
        TINY, encoder=encoder, mel_channels=(8,) * 4, point_channels=(8,) * 7
    )
    apply = jax.jit(LandmarkTransformer(config).apply)
    filled = variables(config)
    base = apply(filled, *inputs)
    assert base.shape == (2, 5, 57, 2)
    for index, array in enumerate(inputs):
        noise = 0.05 * np.random.default_rng(index).normal(size=array.shape)
        changed = [*inputs]
        changed[index] = array + jnp.asarray(noise, jnp.float32)
        assert float(jnp.abs(apply(filled, *changed) - base).max()) > 1e-6


def test_items_of_a_batch_do_not_mix(inputs):
    apply = jax.jit(LandmarkTransformer(TINY).apply)
    filled = variables(TINY)
    alone = apply(filled, *(x[1:] for x in inputs))
    np.testing.assert_allclose(apply(filled, *inputs)[1:], alone, atol=1e-5)


def test_dropout_acts_in_training_only(inputs):
    net = LandmarkTransformer(TINY)
    filled = variables(TINY)

    def run(seed):
        return net.apply(filled, *inputs, train=True, rngs={"dropout": jax.random.key(seed)})

    assert float(jnp.abs(run(0) - run(1)).max()) > 0
    np.testing.assert_array_equal(net.apply(filled, *inputs), net.apply(filled, *inputs))
