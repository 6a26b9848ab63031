import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.render import mouth_detail
from talkface_jax.models.render.reference_warping import SMALL, ReferenceWarping

NET = dataclasses.replace(SMALL, size=32, window=16, channels=4, deep=8, audio_width=4)
LIPS = slice(91, 131)


def inputs(batch=2, references=3):
    rng = np.random.default_rng(0)

    def array(*shape):
        return jnp.asarray(rng.uniform(size=shape), jnp.float32)

    size = NET.size
    args = (
        array(batch, size, size, 3).at[:, size // 2 :].set(0),
        array(batch, 5, size, size, 3),
        array(batch, references, size, size, 3),
        array(batch, references, size, size, 3),
        array(batch, 80, 16),
    )
    base = rng.uniform(0.1, 0.9, (1, 1, 131, 2))
    base[:, :, LIPS] = rng.uniform((0.35, 0.7), (0.65, 0.8), (40, 2))

    def near(count):
        noise = 0.01 * rng.normal(size=(batch, count, 131, 2))
        return jnp.asarray(base + noise, jnp.float32)

    return args, {"points": near(1)[:, 0], "reference_points": near(references)}


@pytest.fixture(scope="module")
def fresh():
    args, points = inputs()
    net = ReferenceWarping(NET)
    return jax.jit(net.apply), net.init(jax.random.key(0), *args, **points)


def test_fresh_network_shows_the_mean_of_the_warped_references_under_the_given_face(fresh):
    apply, variables = fresh
    args, points = inputs()
    out = apply(variables, *args, **points)
    np.testing.assert_allclose(out.image[:, :16], args[0][:, :16], atol=0.02)
    np.testing.assert_allclose(out.image[:, 16:], out.aligned.image[:, 16:], atol=0.02)
    weight = np.asarray(out.aligned.weight)
    moved = [
        mouth_detail.warp_by_grid(
            args[2][:, r], mouth_detail.sampling_grid(out.aligned.flow[:, r], grid="aligned")
        )
        for r in range(3)
    ]
    expected = sum(weight[:, r] * moved[r] for r in range(3)) / weight.sum(1)
    np.testing.assert_allclose(out.aligned.image, expected, atol=1e-5)


def test_flow_follows_the_target_points(fresh):
    apply, variables = fresh
    args, points = inputs()
    moved = points["points"].at[:, LIPS, 1].add(0.1)
    before = apply(variables, *args, **points).aligned.flow
    after = apply(variables, *args, points=moved, reference_points=points["reference_points"])
    mouth = np.asarray(points["points"][0, LIPS].mean(0) * 32).astype(int)
    change = (after.aligned.flow - before)[0, :, mouth[1] + 3, mouth[0], 1]
    assert float(change.max()) < -1


def test_single_references_are_the_nearest_mouth_and_the_most_open_one(fresh):
    """References of one colour each, so that a warp inside of them changes nothing."""
    apply, variables = fresh
    args, points = inputs(references=3)
    colours = jnp.asarray([0.2, 0.5, 0.8])
    images = jnp.broadcast_to(colours[:, None, None, None], args[2].shape)
    target, middle = points["points"], points["points"][:, LIPS, 1:].mean(1, keepdims=True)
    # The second is the target itself, the third the same with a mouth twice as high.
    height = target[:, LIPS, 1:] - middle
    open_mouth = target.at[:, LIPS, 1:].set(middle + 2 * height)
    shut = target.at[:, LIPS, 1:].set(middle + 0.2 * height)
    references = jnp.stack([shut, target, open_mouth], 1)
    out = apply(variables, *args[:2], images, *args[3:], points=target, reference_points=references)
    centre = out.aligned.singles[:, 20:26, 12:20]
    np.testing.assert_allclose(centre[..., :3], 0.5, atol=1e-5)
    np.testing.assert_allclose(centre[..., 3:], 0.8, atol=1e-5)


def test_only_the_window_is_drawn(fresh):
    apply, variables = fresh
    args, points = inputs()
    drawn = jax.tree.map(lambda x: x, variables)
    bias = drawn["params"]["translation"]["to_change"]["bias"]
    drawn["params"]["translation"]["to_change"]["bias"] = bias.at[2:].set(0.3)
    change = apply(drawn, *args, **points).image - apply(variables, *args, **points).image
    start = mouth_detail.window_start(points["points"], size=32, window=16)
    inside = mouth_detail.put(jnp.ones((2, 16, 16, 1)), start, 32)
    assert not np.any(np.asarray(change * (1 - inside)))
    inner = mouth_detail.cut(change, start, 16)[:, 5:11, 5:11]
    assert float(inner.max()) > 0.25


def test_window_is_centred_on_the_lips_and_stays_in_the_crop():
    points = np.zeros((3, 131, 2), np.float32)
    for row, centre in enumerate([(0.5, 0.7), (0.05, 0.98), (0.95, 0.02)]):
        points[row, LIPS] = centre
        points[row, 91], points[row, 92] = np.add(centre, -0.01), np.add(centre, 0.01)
    start = mouth_detail.window_start(jnp.asarray(points), size=100, window=20)
    # Rows before columns, points x before y.
    np.testing.assert_array_equal(start, [[60, 40], [80, 0], [0, 80]])
    image = jnp.arange(3 * 100 * 100, dtype=jnp.float32).reshape(3, 100, 100, 1)
    window = mouth_detail.cut(image, start, 20)
    np.testing.assert_array_equal(window[0], image[0, 60:80, 40:60])
    back = mouth_detail.put(window, start, 100)
    np.testing.assert_array_equal(back[0, 60:80, 40:60], image[0, 60:80, 40:60])
    assert float(back[0].sum()) == float(window[0].sum())


def test_points_are_required(fresh):
    apply, variables = fresh
    args, _ = inputs()
    with pytest.raises(ValueError, match="needs points"):
        apply(variables, *args)


def test_every_parameter_gets_a_gradient(fresh):
    _, variables = fresh
    args, points = inputs()
    rng = np.random.default_rng(3)
    params = jax.tree.map(
        lambda x: x + jnp.asarray(0.05 * rng.normal(size=x.shape), x.dtype), variables["params"]
    )

    @jax.jit
    def slope(params):
        def loss(params):
            out = ReferenceWarping(NET).apply({"params": params}, *args, **points)
            return jnp.square(out.image - 0.3).mean()

        return jax.grad(loss)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(slope(params)):
        assert np.isfinite(leaf).all() and float(jnp.abs(leaf).max()) > 0, path
