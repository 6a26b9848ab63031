import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models.warp import warp


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, 8, 12, 3)), jnp.float32)


def constant_flow(x, y, size=(8, 12)):
    return jnp.broadcast_to(jnp.asarray([x, y], jnp.float32), (2, *size, 2))


def test_aligned_zero_flow_is_the_identity_at_full_and_half_size(image):
    np.testing.assert_allclose(warp(image, constant_flow(0, 0), grid="aligned"), image, atol=1e-5)
    larger = constant_flow(0, 0, (16, 24))
    np.testing.assert_allclose(warp(image, larger, grid="aligned"), image, atol=1e-5)


def test_released_zero_flow_is_not_the_identity(image):
    moved = warp(image, constant_flow(0, 0), grid="released")
    assert float(jnp.abs(moved - image).max()) > 0.1


def test_flow_points_to_where_the_value_is_read(image):
    moved = warp(image, constant_flow(2, -1), grid="aligned")
    np.testing.assert_allclose(moved[:, 1:, :-2], image[:, :-1, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, 0], 0, atol=1e-5)
    np.testing.assert_allclose(moved[:, :, -2:], 0, atol=1e-5)


def test_flow_of_twice_the_size_counts_in_its_own_pixels(image):
    moved = warp(image, constant_flow(4, 2, (16, 24)), grid="aligned")
    np.testing.assert_allclose(moved[:, :-1, :-2], image[:, 1:, 2:], atol=1e-5)


def test_half_a_pixel_is_the_mean_of_neighbours(image):
    moved = warp(image, constant_flow(0.5, 0), grid="aligned")
    np.testing.assert_allclose(
        moved[:, :, :-1], (image[:, :, :-1] + image[:, :, 1:]) / 2, atol=1e-5
    )


def test_gradient_in_flow_is_the_image_slope():
    ramp = jnp.broadcast_to(3.0 * jnp.arange(12.0)[None, None, :, None], (1, 8, 12, 1))
    centre = (slice(None), slice(2, 6), slice(2, 8))

    def total(flow):
        return warp(ramp, flow, grid="aligned")[centre].sum()

    slope = jax.grad(total)(jnp.full((1, 8, 12, 2), 0.3))
    np.testing.assert_allclose(slope[centre][..., 0], 3.0, atol=1e-4)
    np.testing.assert_allclose(slope[centre][..., 1], 0.0, atol=1e-4)


def test_flow_of_another_size_is_refused(image):
    with pytest.raises(ValueError, match="do not fit"):
        warp(image, constant_flow(0, 0, (9, 12)), grid="aligned")
