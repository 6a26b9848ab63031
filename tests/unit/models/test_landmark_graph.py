import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.landmarks.graph import CLUSTER_OF, LEVELS
from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.models.counts import count_leaves, count_params
from talkface_jax.models.motion.landmark_graph import (
    LandmarkGraph,
    LandmarkGraphConfig,
    encode_emotion,
)
from talkface_jax.records import EMOTIONS
from tests.helpers import dense_graph
from tests.helpers.dense_graph import dense_layer, dense_pool, layer_norm

SMALL = LandmarkGraphConfig(
    lstm=5,
    audio_width=4,
    emotion_hidden=6,
    emotion_width=7,
    face_emotion=True,
    channels=(4, 5, 6),
    head="points",
    dropout=0.5,
    noise=0.5,
)
FEATURES = 3
HAPPY = EMOTIONS.index("happy")


def shapes(features=FEATURES, b=2, t=3):
    sizes = ((b, t, 16, features), (b, t, 8), (b, 8), (b, 68, 2))
    return tuple(jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes)


@functools.cache
def built(**changes):
    """The compiled network, and variables by NumPy, for a compiled `init` takes seconds."""
    net = LandmarkGraph(dataclasses.replace(SMALL, **changes))
    tree = jax.eval_shape(lambda *x: net.init(jax.random.key(0), *x), *shapes())
    rng = np.random.default_rng(0)

    def draw(leaf):
        return (rng.choice((-1, 1), leaf.shape) * rng.uniform(0.2, 0.8, leaf.shape)).astype("f4")

    filled = jax.tree.map(draw, tree)
    spread = rng.uniform(0.5, 2, FEATURES).astype(np.float32)
    filled["constants"]["feature_deviation"] = spread

    @functools.partial(jax.jit, static_argnames="train")
    def run(variables, inputs, *, train=False, seed=0):
        return net.apply(variables, *inputs, train=train, rngs={"dropout": jax.random.key(seed)})

    return run, filled


@pytest.fixture
def inputs():
    rng = np.random.default_rng(1)
    content, emotion, face_emotion, face = (
        rng.normal(size=shape.shape).astype(np.float32) for shape in shapes()
    )
    return content, np.abs(emotion), np.abs(face_emotion), (MEAN_FACE + 0.05 * face).astype("f4")


def linear(params, x):
    return x @ params["kernel"] + params["bias"]


def encoded_by_hand(params, face):
    x = dense_pool(dense_layer(params["layer_0"], face, LEVELS[0]), CLUSTER_OF[0])
    x = dense_pool(dense_layer(params["layer_1"], x, LEVELS[1]), CLUSTER_OF[1])
    return dense_layer(params["layer_2"], x, LEVELS[2]).mean(0)


def decoded_by_hand(params, joint):
    x = linear(params["start"], joint).reshape(17, -1)
    x = np.maximum(layer_norm(params["norm"], x), 0)
    x = dense_layer(params["layer_1"], x[CLUSTER_OF[1]], LEVELS[1])
    x = dense_layer(params["layer_0"], x[CLUSTER_OF[0]], LEVELS[0])
    if "displacement" in params:
        return linear(params["displacement"], x)
    return (
        np.stack([row @ kernel for row, kernel in zip(x, params["kernels"], strict=True)])
        + (params["bias"])
    )


def by_hand(variables, content, emotion, face_emotion, face):
    """One frame of one face, with full matrices."""
    params, constants = variables["params"], variables["constants"]
    content = (content - constants["feature_mean"]) / constants["feature_deviation"]
    audio = params["audio"]
    nothing = np.zeros(SMALL.lstm)
    states = dense_graph.lstm(linear(audio["input"], content), audio["recurrent"], nothing, nothing)
    given = emotion if face_emotion is None else np.concatenate([emotion, face_emotion])
    wanted = linear(
        params["emotion"]["embedding"],
        np.maximum(linear(params["emotion"]["hidden"], given), 0),
    )
    parts = [linear(audio["embedding"], states[-1]), wanted, encoded_by_hand(params["face"], face)]
    return decoded_by_hand(params["decoder"], np.concatenate(parts))


@pytest.mark.parametrize("changes", [{}, {"head": "shared", "face_emotion": False}])
def test_equals_the_dense_matrices(inputs, changes):
    run, variables = built(**changes)
    found = run(variables, inputs)
    assert found.shape == (2, 3, 68, 2) and found.dtype == jnp.float32
    content, emotion, face_emotion, face = inputs
    for b, t in ((0, 0), (0, 2), (1, 1)):
        shown = None if changes else face_emotion[b]
        expected = by_hand(variables, content[b, t], emotion[b, t], shown, face[b])
        np.testing.assert_allclose(found[b, t], expected, rtol=1e-3, atol=1e-4)


def test_the_emotion_of_the_face_is_left_out_where_it_is_neutral_as_published(inputs):
    content, emotion, face_emotion, face = inputs
    for seen in (True, False):
        run, variables = built(face_emotion=seen)
        first, second = (
            run(variables, (content, emotion, shown, face))
            for shown in (face_emotion, 0 * emotion[:, 0])
        )
        assert np.any(first != second) == seen


@pytest.mark.parametrize("head", ["shared", "points"])
def test_a_fresh_network_hardly_moves_and_then_every_parameter_learns(inputs, head):
    net = LandmarkGraph(dataclasses.replace(SMALL, head=head))
    variables = jax.jit(net.init)(jax.random.key(0), *inputs)
    assert np.abs(net.apply(variables, *inputs)).max() < 0.01
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.ones_like(leaf), variables["params"])
    params["decoder"] = jax.tree.map(
        lambda leaf: leaf + 0.1 * np.random.default_rng(0).normal(size=leaf.shape),
        params["decoder"],
    )

    @jax.jit
    def slopes(params):
        def total(params):
            return jnp.sum(jnp.square(net.apply({**variables, "params": params}, *inputs) - 1))

        return jax.grad(total)(params)

    for path, slope in jax.tree_util.tree_leaves_with_path(slopes(params)):
        assert np.isfinite(slope).all() and np.abs(slope).max() > 1e-6, path


def test_noise_and_dropout_are_for_training_only(inputs):
    run, variables = built()
    plain = run(variables, inputs)
    np.testing.assert_array_equal(run(variables, inputs, seed=1), plain)
    drawn = [run(variables, inputs, train=True, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 1e-2
    assert np.abs(drawn[0] - plain).max() > 1e-2


def test_one_hot_emotions():
    emotions = np.zeros((5, 8), np.float32)
    emotions[1, HAPPY] = 2 / 3
    emotions[2, 0], emotions[2, HAPPY] = 0.2, 0.5
    emotions[3, HAPPY] = 2
    emotions[4, HAPPY] = 0.01
    np.testing.assert_array_equal(encode_emotion(jnp.asarray(emotions), "vector"), emotions)
    found = np.asarray(encode_emotion(jnp.asarray(emotions), "concat"))
    kinds = [EMOTIONS.index("neutral"), HAPPY, HAPPY, HAPPY, HAPPY]
    levels = [1, 2, 2, 3, 1]  # One and a half rounds to the even level.
    expected = np.zeros((5, 11))
    for row, kind, level in zip(expected, kinds, levels, strict=True):
        row[kind] = row[7 + level] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "features", "count"),
    [({}, 29, 966_396), ({}, 384, 0), ({"face_emotion": True, "head": "points"}, 29, 0)],
)
def test_size_of_the_full_network(changes, features, count):
    """As the layers' own sizes give it."""
    edges = [len(level.edges) for level in LEVELS]
    shown = 16 if changes else 8

    def layer(inputs, outputs):
        return inputs * outputs + outputs

    def graph(inputs, outputs, level):
        return edges[level] + layer(inputs, outputs) + 2 * outputs

    expected = (
        layer(features, 512) + 128 * 512 + layer(128, 128)
        + layer(shown, 64) + layer(64, 128)
        + graph(2, 32, 0) + graph(32, 64, 1) + graph(64, 128, 2)
        + layer(384, 17 * 128) + 2 * 128
        + graph(128, 64, 1) + graph(64, 32, 0)
        + (68 * (32 * 2 + 2) if changes else layer(32, 2))
    )  # fmt: skip
    config = LandmarkGraphConfig(**changes)
    assert count_params(LandmarkGraph(config), *shapes(features)) == expected
    assert not count or expected == count
    found = jax.eval_shape(
        lambda *x: LandmarkGraph(config).init_with_output(jax.random.key(0), *x)[0],
        *shapes(features),
    )
    assert found.shape == (2, 3, 68, 2)


def test_bfloat16_parameters_give_float32_landmarks(inputs):
    run, variables = built()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables["params"])
    found, whole = run({**variables, "params": half}, inputs), run(variables, inputs)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - whole).max() < 0.15 * np.abs(whole).max()
    assert count_leaves(half) == count_leaves(variables["params"])
