"""The merged 5x5 convolution is the two 3x3 convolutions, at every pixel and in every gradient."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.blocks import ModulatedBlock, SpadeModulation
from talkface_jax.models.counts import count_flops
from talkface_jax.models.linear_convs import Affine, chained_conv, is_cheaper_merged, merge

MERGED = (2, 24, 3)
APART = (6, 4, 8)
"""Input, hidden and output channels."""
SIZES = [(3, 3), (3, 7), (4, 3), (5, 9)]


def two_convs(x, first, second):
    for kernel, bias in (first, second):
        dimensions = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
        x = x + bias
    return x


def draw(channels, size, batch=2):
    """Values of unit size, biases too: they are what the border of the hidden map lacks."""
    rng = np.random.default_rng(0)
    inputs, hidden, outputs = channels

    def array(*shape):
        fan = max(np.prod(shape[:-1]), 1)
        return jnp.asarray(rng.normal(size=shape) / np.sqrt(fan), jnp.float32)

    def affine(a, b):
        return Affine(array(3, 3, a, b), jnp.asarray(rng.normal(size=b), jnp.float32))

    x = jnp.asarray(rng.normal(size=(batch, *size, inputs)), jnp.float32)
    return x, affine(inputs, hidden), affine(hidden, outputs)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [MERGED, APART], ids=["merged", "apart"])
def test_chain_is_the_two_convolutions_at_every_pixel(channels, size):
    x, first, second = draw(channels, size)
    got, expected = (jax.jit(f)(x, first, second) for f in (chained_conv, two_convs))
    assert got.shape == (2, *size, channels[-1])
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
    assert np.std(expected) > 0.3


@pytest.mark.parametrize("channels", [MERGED, APART], ids=["merged", "apart"])
def test_gradients_of_input_and_parameters_are_those_of_two_convolutions(channels):
    arguments = draw(channels, (4, 7))
    weight = np.random.default_rng(1).normal(size=(2, 4, 7, channels[-1])).astype(np.float32)

    def slopes(function):
        return jax.jit(jax.grad(lambda *a: (function(*a) * weight).sum(), (0, 1, 2)))(*arguments)

    got, expected = slopes(chained_conv), slopes(two_convs)
    assert len(jax.tree.leaves(got)) == 5
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.abs(theirs).max())
        assert scale > 0
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * scale, rtol=1e-5)


def test_merged_kernel_alone_is_right_inside_and_wrong_at_the_border():
    """So the border needs its own computation, and the test above would see its absence."""
    x, first, second = draw(MERGED, (7, 8))
    kernel, bias = merge(first, second)
    assert kernel.shape == (5, 5, 2, 3)
    dimensions = ("NHWC", "HWIO", "NHWC")
    got = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
    difference = np.abs(got + bias - two_convs(x, first, second)).max((0, -1))
    assert difference[1:-1, 1:-1].max() < 1e-5
    rim = np.concatenate([difference[0], difference[-1], difference[:, 0], difference[:, -1]])
    assert rim.min() > 1e-2


def flops(function, channels, size):
    inputs, hidden, outputs = channels

    def shape(*dims):
        return jax.ShapeDtypeStruct(dims, jnp.float32)

    return count_flops(
        function,
        shape(1, size, size, inputs),
        Affine(shape(3, 3, inputs, hidden), shape(hidden)),
        Affine(shape(3, 3, hidden, outputs), shape(outputs)),
    )


def test_merging_is_used_where_it_saves_work_and_only_there():
    # The alignment network on 15 channels of sketches, at full and at half size.
    for channels, size, share in (((15, 256, 512), 64, 0.35), ((15, 256, 128), 128, 0.3)):
        merged, plain = (flops(f, channels, size) for f in (chained_conv, two_convs))
        assert is_cheaper_merged(*channels) and merged < share * plain
    # The translation network on 256 channels of references; equal numbers of channels.
    for channels in ((256, 256, 512), (8, 8, 8)):
        merged, plain = (flops(f, channels, 64) for f in (chained_conv, two_convs))
        assert not is_cheaper_merged(*channels) and merged == plain


def test_merge_of_bfloat16_kernels_rounds_once():
    _, first, second = jax.tree.map(lambda a: a.astype(jnp.bfloat16), draw(MERGED, (3, 3)))
    exact = merge(*(Affine(*(a.astype(jnp.float32) for a in pair)) for pair in (first, second)))
    for got, wide in zip(merge(first, second), exact, strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_array_equal(got, wide.astype(jnp.bfloat16))


class ThreeConvs(nn.Module):
    """SPADE's modulation as three `nn.Conv`."""

    features: int
    hidden: int

    @nn.compact
    def __call__(self, condition):
        layer = functools.partial(nn.Conv, kernel_size=(3, 3), padding=1)
        shared = layer(self.hidden, name="shared")(condition)
        return layer(self.features, name="scale")(shared), layer(self.features, name="offset")(
            shared
        )


@pytest.mark.parametrize("hidden", [3, 40])
def test_spade_modulation_is_three_convs_with_their_parameters_and_init(hidden):
    condition = draw((2, hidden, 2), (5, 6))[0]
    ours, plain = SpadeModulation(3, hidden), ThreeConvs(3, hidden)
    fresh, expected = (jax.jit(net.init)(jax.random.key(3), condition) for net in (ours, plain))
    assert jax.tree.structure(fresh) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, fresh, expected)
    # Biases start at zero, where their absence would not show.
    rng = np.random.default_rng(2)
    moved = jax.tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape).astype(np.float32), fresh)
    got, right = (jax.jit(net.apply)(moved, condition) for net in (ours, plain))
    np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5)


def test_block_in_bfloat16_is_near_the_one_in_float32():
    rng = np.random.default_rng(4)
    x, condition = (jnp.asarray(rng.normal(size=(2, 6, 7, c)), jnp.float32) for c in (4, 2))
    net = ModulatedBlock(4, 40, "spade")
    filled = jax.jit(net.init)(jax.random.key(0), x, condition)["params"]

    @jax.jit
    def slopes(params):
        def loss(params):
            dtype = params["conv_1"]["bias"].dtype
            y = net.apply({"params": params}, x.astype(dtype), condition)
            return jnp.square(y.astype(jnp.float32) - 1).mean(), y

        return jax.grad(loss, has_aux=True)(params)

    exact, wide = slopes(filled)
    rounded, narrow = slopes(jax.tree.map(lambda a: a.astype(jnp.bfloat16), filled))
    assert (wide.dtype, narrow.dtype) == (jnp.float32, jnp.bfloat16)
    assert 0 < jnp.abs(wide - narrow).max() < 0.05 * jnp.abs(wide).max()
    a, b = (
        np.concatenate([np.ravel(leaf).astype(np.float32) for leaf in jax.tree.leaves(tree)])
        for tree in (exact, rounded)
    )
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999
