"""The blink generator against NumPy, and what a track of any length must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks import blinks
from talkface_jax.models.counts import count_leaves
from talkface_jax.models.motion.blink_lstm import BlinkLstm, BlinkLstmConfig

SMALL = BlinkLstmConfig(noise=3, width=5, head=4, sharpness=2.0)


@pytest.fixture(scope="module")
def variables():
    net = BlinkLstm(SMALL)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 2, 3)))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(variables, noise):
    params, constants = variables["params"], variables["constants"]
    dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]  # noqa: E731
    state = dense("first_state", np.tanh(dense("first_hidden", noise[:, 0])))
    cell, hidden = state[:, :5], np.tanh(state[:, 5:])
    tracks = []
    for frame in np.moveaxis(noise, 1, 0):
        fed = dense("input", frame) + hidden @ params["recurrent"]
        take, keep, new, show = np.split(fed, 4, -1)
        cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
        hidden = sigmoid(show) * np.tanh(cell)
        both = np.concatenate([hidden, np.tanh(dense("head", hidden))], -1)
        way = sigmoid(2.0 * dense("way", both))[..., None]
        rest = np.tanh(dense("rest", both).reshape(-1, 22, 2))
        tracks.append(way * (constants["closing"] + 2 * constants["variety"] * rest))
    return np.stack(tracks, 1)


def test_a_track_is_that_of_numpy_and_begins_like_a_shorter_one(variables):
    noise = np.random.default_rng(1).normal(size=(4, 30, 3)).astype(np.float32)
    apply = jax.jit(BlinkLstm(SMALL).apply)
    track = apply(variables, noise)
    expected = by_hand(variables, noise.astype(np.float64))
    np.testing.assert_allclose(track, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(apply(variables, noise[:, :12]), track[:, :12], atol=1e-6)


def test_full_size_shapes_and_parameters():
    config = BlinkLstmConfig()
    net = BlinkLstm(config)
    noise = jax.ShapeDtypeStruct((2, 75, 10), jnp.float32)
    fresh = jax.eval_shape(net.init, jax.random.key(0), noise)
    track = jax.eval_shape(net.apply, fresh, noise)
    assert (track.shape, track.dtype) == ((2, 75, 22, 2), jnp.float32)
    lstm = 4 * 128 * (10 + 128 + 1)
    start = 128 * (10 + 1) + 256 * (128 + 1)
    out = 32 * (128 + 1) + (128 + 32 + 1) * (1 + 44)
    assert count_leaves(fresh["params"]) == lstm + start + out == 116_973


def test_fresh_networks_keep_the_eyes_open_and_remember_for_spread_times():
    net = BlinkLstm(BlinkLstmConfig(width=32))
    noise = jax.random.normal(jax.random.key(0), (2, 20, 10))
    fresh = jax.jit(net.init)(jax.random.key(1), noise)
    curve = blinks.closure(np.asarray(jax.jit(net.apply)(fresh, noise)))
    assert 0 < curve.mean() < 0.3
    # sigmoid(b) = 1 - 1/T for a memory of T frames.
    bias = np.asarray(fresh["params"]["input"]["bias"])
    memory = 1 + np.exp(bias[32:64])
    assert memory.min() >= 2 and 20 < np.median(memory) < 40 and memory.max() <= 60
    np.testing.assert_array_equal(bias[:32], -bias[32:64])
    assert blinks.closure(np.asarray(fresh["constants"]["closing"])) == pytest.approx(1, abs=1e-5)


def test_it_is_exported_for_tracks_of_any_length(variables):
    (frames,) = jax.export.symbolic_shape("t")
    noise = jax.ShapeDtypeStruct((1, frames, 3), jnp.float32)
    exported = jax.export.export(jax.jit(BlinkLstm(SMALL).apply))(variables, noise)
    given = np.random.default_rng(2).normal(size=(1, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(
        exported.call(variables, given),
        by_hand(variables, given.astype(np.float64)),
        rtol=1e-4,
        atol=1e-5,
    )
