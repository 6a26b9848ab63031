"""Losses on latent keypoints, against loops, and that what they forbid costs more."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.losses import keypoint


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def array(values):
    return jnp.asarray(values, jnp.float32)


def lattice(step):
    """(1, 8, 3): corners of a cube, z about the wanted mean."""
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    return array(step * corners + [0, 0, keypoint.DEPTH])[None]


def test_equivariance_is_the_mean_over_x_and_y(rng):
    points, returned = rng.normal(size=(3, 5, 3)), rng.normal(size=(3, 5, 2))
    expected = np.abs(points[..., :2] - returned).mean((1, 2))
    found = keypoint.equivariance(array(points), array(returned))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Depth cannot be seen in a picture that is warped in its plane.
    deeper = keypoint.equivariance(array(points + np.array([0, 0, 1])), array(returned))
    np.testing.assert_allclose(deeper, expected, rtol=1e-5)


def test_equivariance_grows_with_the_error_of_one_item_alone(rng):
    points = array(rng.normal(size=(2, 5, 3)))
    np.testing.assert_array_equal(keypoint.equivariance(points, points[..., :2]), 0)
    wrong = points[..., :2].at[1, 3, 0].add(0.4)
    np.testing.assert_allclose(
        keypoint.equivariance(points, wrong), [0, 0.4 / 10], rtol=1e-4, atol=1e-7
    )


def test_spread_against_loops(rng):
    points = rng.normal(scale=0.2, size=(3, 6, 3))
    expected = []
    for item in points:
        close = sum(
            max(0.0, 0.1 - np.sum((a - b) ** 2)) for a, b in itertools.permutations(item, 2)
        )
        expected.append(close + abs(item[:, 2].mean() - 0.33))
    assert min(expected) > 0.33
    np.testing.assert_allclose(keypoint.spread(array(points)), expected, rtol=1e-4)


def test_spread_asks_nothing_of_keypoints_that_lie_apart_and_grows_as_they_come_close():
    assert float(keypoint.spread(lattice(0.4))[0]) == pytest.approx(0, abs=1e-6)
    costs = [float(keypoint.spread(lattice(step))[0]) for step in (0.3, 0.2, 0.1, 0.0)]
    assert all(near > far > 0 for far, near in itertools.pairwise(costs))
    # All in one place: every one of the ordered pairs of different keypoints.
    assert costs[-1] == pytest.approx(8 * 7 * 0.1, rel=1e-4)
    alone = array([[[0.2, 0.1, keypoint.DEPTH]]])
    assert float(keypoint.spread(alone)[0]) == pytest.approx(0, abs=1e-6)


def test_spread_holds_the_mean_depth(rng):
    deep = lattice(0.4) + array([0, 0, 0.5])
    assert float(keypoint.spread(deep)[0]) == pytest.approx(0.5, rel=1e-4)
    assert float(keypoint.spread(lattice(0.4) - array([0, 0, 0.5]))[0]) == pytest.approx(0.5, 1e-4)


def test_spread_pushes_close_keypoints_apart():
    slope_of = jax.jit(jax.grad(lambda x: keypoint.spread(x).sum()))
    slope = slope_of(array([[[0, 0, 0.33], [0.1, 0, 0.33]]]))
    assert slope[0, 0, 0] > 0 > slope[0, 1, 0], "a step against the slope moves them apart"
    assert np.isfinite(slope_of(jnp.zeros((1, 2, 3)))).all(), "even where they are one"


def test_head_pose_and_expression_are_sums_of_an_item(rng):
    degrees, true = rng.normal(scale=20, size=(2, 4, 3))
    np.testing.assert_allclose(
        keypoint.head_pose(array(degrees), array(true)), np.abs(degrees - true).sum(-1), rtol=1e-5
    )
    offsets = rng.normal(size=(4, 5, 3))
    np.testing.assert_allclose(
        keypoint.expression(array(offsets)), np.abs(offsets).sum((1, 2)), rtol=1e-5
    )


def test_every_loss_is_one_number_an_item(rng):
    points = array(rng.normal(size=(4, 5, 3)))
    for found in (
        keypoint.equivariance(points, points[..., :2]),
        keypoint.spread(points),
        keypoint.head_pose(points[:, 0], points[:, 1]),
        keypoint.expression(points),
    ):
        assert found.shape == (4,)
