import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.models.counts import count_params
from talkface_jax.models.render.flow_texture import (
    RATE,
    SMALL,
    FlowTexture,
    FlowTextureConfig,
    MotionBranch,
    TextureBranch,
)
from talkface_jax.models.render.point_flow import point_flow
from talkface_jax.models.warp import warp

SIZE = 32
TINY = dataclasses.replace(SMALL, size=SIZE, channels=4, blocks=1, motion_channels=4, step=2)
PLAIN = dataclasses.replace(
    TINY, fold=1, paint="absolute", guide="none", flow="learned", step=1, face_emotion=False
)


def shapes(size, batch=1):
    sizes = (size, size, 3), (68, 2), (68, 2), (8,), (8,)
    return [jax.ShapeDtypeStruct((batch, *each), jnp.float32) for each in sizes]


def draw(tree, seed=1):
    """Variables by NumPy, for a compiled `init` takes seconds."""
    rng = np.random.default_rng(seed)

    def one(leaf):
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 10
        return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(np.float32)

    return jax.tree.map(one, tree)


@functools.cache
def built(config):
    net = FlowTexture(config)
    found = jax.eval_shape(lambda *x: net.init(jax.random.key(0), *x), *shapes(SIZE))
    return jax.jit(net.apply), draw(found)


def inputs(face, seed=0, lips=(0.02, 0.08)):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.1, 0.9, (1, SIZE, SIZE, 3)).astype(np.float32)
    emotions = rng.uniform(0, 1, (2, 1, 8)).astype(np.float32)
    return image, *(face(lips=width)[None] for width in lips), *emotions


def fresh(variables, config, share=0.0):
    """The heads as a run begins, but for the share of the flow by landmarks."""
    params = jax.tree.map(np.asarray, variables["params"])
    motion, texture = dict(params["motion"]), dict(params["texture"])
    motion["flow"] = jax.tree.map(np.zeros_like, motion["flow"])
    if config.flow == "landmarks":
        motion["share"] = np.float32(share / RATE)
    if config.paint == "warped":
        texture["colour"] = jax.tree.map(np.zeros_like, texture["colour"])
    return {"params": {"motion": motion, "texture": texture}}


@pytest.mark.parametrize(
    ("config", "count"), [(FlowTextureConfig(), 9_500_166), (SMALL, 182_156)], ids=["base", "small"]
)
def test_full_sizes(config, count):
    """Parameters as the layers' own sizes give them, and whole pictures as output."""

    def layer(inputs, features, kernel=3):
        return inputs * features * kernel**2 + features

    m, c, area = config.motion_channels, config.channels, config.fold**2
    maps = 9 if config.guide == "landmarks" else 0
    motion = (
        (layer(68, m) + layer(m, 2 * m) if config.step == 1 else layer(68, 2 * m))
        + layer(2 * m, 4 * m)
        + layer(4 * m, 4 * m)
        + layer(6 * m, 2 * m)
        + layer(2 * m, 3)
        + layer(16 if config.face_emotion else 8, config.emotion_width, 1)
        + layer(config.emotion_width, 8 * m, 1)
        + (config.flow == "landmarks")
    )
    texture = (
        layer(3 * area, c, config.kernel)
        + layer(c, 2 * c)
        + layer(2 * c, 4 * c)
        + (layer(4 * c + maps, 4 * c) if maps else 0)
        + config.blocks * 2 * layer(4 * c, 4 * c)
        + layer(6 * c + maps, 2 * c)
        + layer(3 * c + maps, c)
        + layer(c, 3 * area, config.kernel)
    )
    found = count_params(FlowTexture(config), *shapes(256))
    assert found == motion + texture
    assert found == count
    out = jax.eval_shape(
        lambda *x: FlowTexture(config).init_with_output(jax.random.key(0), *x)[0],
        *shapes(256, batch=2),
    )
    assert out.image.shape == (2, 256, 256, 3)
    assert out.flow.shape == (2, 256, 256, 2)
    assert out.occlusion.shape == (2, 256, 256, 1)
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["small", "plain"])
def test_zero_flow_with_open_occlusion_is_the_network_without_warp(face, config):
    variables = {"params": built(config)[1]["params"]["texture"]}
    image, _, points, *_ = inputs(face)
    texture = TextureBranch(config)
    flow, occlusion = np.zeros((1, SIZE, SIZE, 2)), np.ones((1, SIZE, SIZE, 1))

    @jax.jit
    def unmoved(variables):
        features = texture.apply(variables, image, method="encode")
        painted = texture.apply(variables, features, points, method="decode")
        return jax.nn.sigmoid(painted) if config is PLAIN else jnp.clip(image + painted, 0, 1)

    moved = jax.jit(texture.apply)(variables, image, *map(jnp.float32, (flow, occlusion)), points)
    assert np.std(moved) > 0.05
    np.testing.assert_allclose(moved, unmoved(variables), atol=2e-5)
    shifted = texture.apply(variables, image, jnp.float32(flow + 4), jnp.float32(occlusion), points)
    assert np.abs(shifted - moved).mean() > 0.02


def test_every_scale_moves_by_the_flow_and_vanishes_where_occluded(face):
    """A whole shift by 8 pixels of the crop shifts each scale's features exactly."""
    params = built(PLAIN)[1]["params"]["texture"]
    image, _, points, *_ = inputs(face)
    texture = TextureBranch(PLAIN)
    seen = []

    def note(call, args, kwargs, context):
        if context.method_name == "decode":
            seen.append([np.asarray(x) for x in args[0]])
        return call(*args, **kwargs)

    def decoded(flow, occlusion):
        with nn.intercept_methods(note):
            texture.apply({"params": params}, image, flow, occlusion, points)
        return seen.pop()

    still = decoded(jnp.zeros((1, SIZE, SIZE, 2)), jnp.ones((1, SIZE, SIZE, 1)))
    flow = jnp.zeros((1, SIZE, SIZE, 2)).at[..., 0].set(8)
    half = jnp.ones((1, SIZE, SIZE, 1)).at[:, : SIZE // 2].set(0)
    moved = decoded(flow, half)
    for scale, (before, after) in enumerate(zip(still, moved, strict=True)):
        columns, rows = 8 >> scale, SIZE >> (scale + 1)
        np.testing.assert_allclose(
            after[:, rows:, :-columns], before[:, rows:, columns:], atol=1e-5
        )
        np.testing.assert_allclose(after[:, :rows], 0, atol=1e-6)


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["small", "plain"])
def test_training_begins_at_the_identity_warp(face, config):
    net = FlowTexture(config)
    heads = jax.jit(net.init)(jax.random.key(0), *inputs(face))["params"]["motion"]
    assert not np.any(heads["flow"]["kernel"]) and not np.any(heads["flow"]["bias"])
    assert not np.any(heads.get("share", 0))
    apply, variables = built(config)
    variables = fresh(variables, config)
    variables["params"]["motion"]["occlusion"] = heads["occlusion"]
    image, *others = inputs(face)
    out = apply(variables, image, *others)
    np.testing.assert_array_equal(out.flow, 0)
    np.testing.assert_allclose(out.occlusion, 1 / (1 + np.exp(-2)), atol=0.02)
    if config.paint == "warped":
        np.testing.assert_allclose(out.image, image, atol=1e-6)


def test_the_share_of_the_flow_by_landmarks(face):
    apply, variables = built(TINY)
    image, identity_points, points, *emotions = inputs(face)
    given = jnp.asarray(points), jnp.asarray(identity_points)
    expected = point_flow(*given, size=SIZE, config=TINY.kernels)
    for share in (1.0, 0.25):
        moved = apply(fresh(variables, TINY, share), image, identity_points, points, *emotions)
        np.testing.assert_allclose(moved.flow, share * expected, atol=1e-4)
        warped = warp(jnp.asarray(image), moved.flow, grid="aligned")
        np.testing.assert_allclose(moved.image, warped, atol=1e-5)
    assert np.abs(warped - image).max() > 0.1


def test_flow_by_landmarks_is_the_shift_at_the_points(face):
    apply, variables = built(TINY)
    image, identity_points, _, *emotions = inputs(face)
    shift = np.float32([2.5, -1.5])
    points = identity_points + shift / SIZE
    out = apply(fresh(variables, TINY, 1.0), image, identity_points, points, *emotions)
    # Lids and lips are held a hundredth of the crop apart, a third of a pixel here.
    outline = np.rint(points[0, :31] * SIZE - 0.5).astype(int)
    assert outline.min() >= 0 and outline.max() < SIZE
    found = np.asarray(out.flow)[0, outline[:, 1], outline[:, 0]]
    np.testing.assert_allclose(found, np.broadcast_to(-shift, found.shape), atol=0.02)


def _shifted(image, shift):
    flow = jnp.broadcast_to(-shift[:, None, None], (*shift.shape[:1], SIZE, SIZE, 2))
    return warp(image, flow, grid="aligned")


def test_learned_flow_learns_to_follow_the_targets(face):
    """Trained on random shifts of a picture, painting nothing, it moves a new one by its shift."""
    config = dataclasses.replace(PLAIN, paint="warped", motion_channels=8)
    apply, variables = built(config)
    params = fresh(variables, config)["params"]
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    waves = np.stack([np.sin(x / 3), np.sin(y / 3), np.sin((x + y) / 4)], -1)
    image = jnp.float32(0.5 + 0.3 * waves)[None].repeat(8, 0)
    points = jnp.asarray(np.repeat(face()[None], 8, 0))
    emotions = [jnp.zeros((8, 8))] * 2
    optimiser = optax.adam(3e-3)

    def loss(motion, shift):
        all_params = {"motion": motion, "texture": params["texture"]}
        moved = points + shift[:, None] / SIZE
        out = apply({"params": all_params}, image, points, moved, *emotions)
        inner = slice(6, -6)
        return jnp.abs(out.image - _shifted(image, shift))[:, inner, inner].mean()

    @jax.jit
    def step(motion, state, shift):
        slopes = jax.grad(loss)(motion, shift)
        updates, state = optimiser.update(slopes, state, motion)
        return optax.apply_updates(motion, updates), state

    motion = jax.tree.map(jnp.asarray, params["motion"])
    state = optimiser.init(motion)
    for _ in range(250):
        motion, state = step(motion, state, jnp.float32(rng.uniform(-3, 3, (8, 2))))
    shift = np.float32([[2, 2], [-2, 1], [1, -2], [-2, -2]] * 2)
    net = MotionBranch(config)
    moved = points + shift[:, None] / SIZE
    flow, _ = net.apply({"params": motion}, points, moved, jnp.zeros((8, 8)))
    at_face = np.asarray(flow)[:, 8:-8, 8:-8].mean((1, 2))
    share = -at_face / shift
    # How near each one comes depends on the processor, too.
    assert (share > 0.3).all() and (share < 1.7).all(), share
    assert share.mean() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["small", "plain"])
def test_gradients_reach_every_parameter(face, config):
    apply, variables = built(config)
    given = inputs(face)

    @jax.jit
    def slopes(params):
        def total(params):
            out = apply({"params": params}, *given)
            return jnp.mean(jnp.square(out.image - 0.5)) + 1e-3 * jnp.mean(jnp.abs(out.flow))

        return jax.grad(total)(params)

    found = jax.tree_util.tree_leaves_with_path(slopes(variables["params"]))
    for path, slope in found:
        names = [key.key for key in path]
        assert np.isfinite(slope).all(), path
        # An instance norm takes the bias before it away.
        cancelled = names[0] == "texture" and names[-1] == "bias" and names[1] != "colour"
        assert cancelled or np.abs(slope).max() > 1e-9, path


def test_emotion_reaches_the_flow_and_the_image(face):
    for config, seen in ((TINY, True), (PLAIN, False)):
        apply, variables = built(config)
        *given, emotion, face_emotion = inputs(face)
        plain = apply(variables, *given, emotion, face_emotion)
        other = apply(variables, *given, 1 - emotion, face_emotion)
        assert np.abs(plain.flow - other.flow).max() > 1e-2
        assert np.abs(plain.image - other.image).max() > 1e-3
        shown = apply(variables, *given, emotion, 1 - face_emotion)
        assert np.any(shown.flow != plain.flow) == seen


def test_flow_leads_to_no_place_outside(face):
    apply, variables = built(PLAIN)
    motion = dict(variables["params"]["motion"])
    motion["flow"] = {**motion["flow"], "bias": np.float32([-90, 90])}
    params = {**variables["params"], "motion": motion}
    flow = np.asarray(apply({"params": params}, *inputs(face)).flow)[0]
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    np.testing.assert_allclose(flow[..., 0], -x, atol=1e-5)
    np.testing.assert_allclose(flow[..., 1], SIZE - 1 - y, atol=1e-5)


def test_results_stay_float32_under_bfloat16_parameters(face):
    apply, variables = built(TINY)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    out, whole = apply(half, *inputs(face)), apply(variables, *inputs(face))
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}
    assert 0 < np.abs(out.image - whole.image).mean() < 0.05
