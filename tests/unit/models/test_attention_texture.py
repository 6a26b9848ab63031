import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.counts import count_params
from talkface_jax.models.render.attention_texture import (
    SMALL,
    AttentionTexture,
    AttentionTextureConfig,
)
from talkface_jax.models.render.point_flow import point_flow
from talkface_jax.models.warp import warp

SIZE = 32
TINY = dataclasses.replace(SMALL, size=SIZE, channels=4, blocks=1)


def shapes(size, batch=1):
    image = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    points = jax.ShapeDtypeStruct((batch, 68, 2), jnp.float32)
    return image, points, points


@pytest.mark.parametrize(
    ("config", "count"), [(AttentionTextureConfig(), 11_622_084), (SMALL, 361_552)]
)
def test_full_sizes(config, count):
    """Parameters as the layers' own sizes give them, and whole pictures as output."""

    def layer(inputs, features, kernel=3):
        return inputs * features * kernel**2 + features

    width, area = config.channels, config.fold**2
    pictures = 6 if config.colour == "warped" else 3
    expected = (
        layer(pictures * area + 18, width, config.kernel)
        + layer(width, 2 * width)
        + layer(2 * width, 4 * width)
        + config.blocks * 2 * layer(4 * width, 4 * width)
        + layer(4 * width + 2 * width, 2 * width)
        + layer(2 * width + width, width)
        + layer(width, 4 * area, config.kernel)
    )
    assert count_params(AttentionTexture(config), *shapes(256)) == expected == count
    out = jax.eval_shape(
        lambda *x: AttentionTexture(config).init_with_output(jax.random.key(0), *x)[0],
        *shapes(256, batch=2),
    )
    assert out.image.shape == out.colour.shape == (2, 256, 256, 3)
    assert out.attention.shape == (2, 256, 256, 1)
    assert {out.image.dtype, out.attention.dtype, out.colour.dtype} == {jnp.dtype("float32")}


@functools.cache
def built(**changes):
    """The compiled network, and variables by NumPy, for a compiled `init` takes seconds."""
    net = AttentionTexture(dataclasses.replace(TINY, **changes))
    rng = np.random.default_rng(1)

    def draw(leaf):
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 10
        return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(np.float32)

    found = jax.eval_shape(lambda *x: net.init(jax.random.key(0), *x), *shapes(SIZE))
    return jax.jit(net.apply), jax.tree.map(draw, found)


def inputs(face, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.1, 0.9, (1, SIZE, SIZE, 3)).astype(np.float32)
    return image, face(lips=0.02)[None], face(lips=0.08)[None]


def test_image_is_the_blend_of_colour_and_identity(face):
    apply, variables = built()
    identity, *points = inputs(face)
    out = apply(variables, identity, *points)
    attention, colour = np.asarray(out.attention), np.asarray(out.colour)
    assert attention.std() > 0.02 and colour.std() > 0.02
    assert colour.min() >= 0 and colour.max() <= 1
    expected = attention * colour + (1 - attention) * identity
    np.testing.assert_allclose(out.image, expected, atol=1e-6)


def test_fresh_colour_is_the_identity_warped_to_the_points(face):
    apply, variables = built()
    identity, identity_points, points = inputs(face)
    params = dict(variables["params"])
    params["colour"] = jax.tree.map(np.zeros_like, params["colour"])
    out = apply({"params": params}, identity, identity_points, points)

    @jax.jit
    def expected(points, identity_points):
        flow = point_flow(points, identity_points, size=SIZE, config=TINY.flow)
        return warp(jnp.asarray(identity), flow, grid="aligned")

    warped = expected(points, identity_points)
    assert np.abs(warped - identity).max() > 0.2
    np.testing.assert_allclose(out.colour, warped, atol=1e-5)


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, colour="absolute")])
def test_heads_start_near_zero_and_the_attention_low(config):
    heads = {}

    def note(call, args, kwargs, context):
        if context.module.name in ("colour", "attention"):
            heads[context.module.name] = context.module
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        net = AttentionTexture(config)
        jax.eval_shape(lambda *x: net.init(jax.random.key(0), *x), *shapes(SIZE))

    def drawn(name):
        head = heads[name]
        bias = head.bias_init(jax.random.key(0), (4,), jnp.float32)
        return head.kernel_init(jax.random.key(1), (3, 3, 4, 4), jnp.float32), bias

    kernel, bias = drawn("attention")
    assert np.abs(kernel).max() < 0.01
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), config.attention_start, rtol=1e-5)
    kernel, bias = drawn("colour")
    assert (np.abs(kernel).max() < 0.01) == (config.colour == "warped")
    assert not np.any(bias)


def test_both_sets_of_landmarks_are_drawn_for_the_network(face):
    """Blind to the pictures, whose channels come first, it still tells the points apart."""
    apply, variables = built()
    params = dict(variables["params"])
    stem = params["net"]["stem"]
    blind = stem["kernel"].copy()
    blind[:, :, : 6 * TINY.fold**2] = 0
    params["net"] = {**params["net"], "stem": {**stem, "kernel": blind}}
    identity, identity_points, points = inputs(face)

    def attention(*points):
        return np.asarray(apply({"params": params}, identity, *points).attention)

    both = attention(identity_points, points)
    np.testing.assert_allclose(
        apply({"params": params}, 1 - identity, identity_points, points).attention, both, atol=1e-6
    )
    assert np.abs(both - attention(points, points)).max() > 0.01
    assert np.abs(both - attention(identity_points, identity_points)).max() > 0.01


def test_results_stay_float32_under_bfloat16_parameters(face):
    apply, variables = built()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    out = jax.eval_shape(apply, half, *inputs(face))
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}
