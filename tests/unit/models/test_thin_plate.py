"""Random warps: what the points say, and that the picture says the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.models import thin_plate
from talkface_jax.models.thin_plate import ThinPlate

CONTROLS = thin_plate.POINTS**2
apply = jax.jit(ThinPlate.picture)
IDENTITY = ThinPlate(
    jnp.asarray(np.eye(2, 3)[None], jnp.float32), jnp.zeros((1, CONTROLS), jnp.float32)
)
HEIGHT, WIDTH = 48, 64


def positions(height, width):
    """(h, w, 2) of the pixels' middles; -1 and 1 are the picture's edges."""
    y, x = ((2 * np.arange(count) + 1) / count - 1 for count in (height, width))
    return np.stack(np.meshgrid(x, y), -1)


def random_places(count, *, most=1.0):
    values = np.random.default_rng(1).uniform(-most, most, (2, count, 2))
    return jnp.asarray(values, jnp.float32)


def by_loops(plate, places):
    """The definition, point by point."""
    side = np.linspace(-1, 1, thin_plate.POINTS)
    affine, weights = (np.asarray(x, np.float64) for x in (plate.affine, plate.weights))
    found = np.zeros(places.shape)
    for item in range(len(places)):
        for index, (x, y) in enumerate(np.asarray(places[item], np.float64)):
            bent, control = 0.0, 0
            for v in side:
                for u in side:
                    far = abs(x - u) + abs(y - v)
                    bent += weights[item, control] * far**2 * np.log(far + 1e-6)
                    control += 1
            linear = affine[item, :, :2] @ (x, y) + affine[item, :, 2]
            found[item, index] = linear + bent
    return found


def test_points_against_loops():
    plate = ThinPlate.draw(jax.random.key(0), 2)
    places = random_places(20)
    found = jax.jit(ThinPlate.points)(plate, places)
    np.testing.assert_allclose(found, by_loops(plate, places), atol=1e-5)
    assert np.abs(found - places).max() > 0.05
    # The spline bends; without it the map is affine.
    straight = jax.jit(ThinPlate.points)(plate.replace(weights=0 * plate.weights), places)
    assert np.abs(found - straight).max() > 0.01


def test_the_identity_moves_neither_points_nor_pictures():
    places = random_places(20)[:1]
    np.testing.assert_allclose(IDENTITY.points(places), places, atol=1e-6)
    image = np.random.default_rng(2).random((1, 10, 14, 3)).astype(np.float32)
    np.testing.assert_allclose(apply(IDENTITY, jnp.asarray(image)), image, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_blob_at_the_point_of_a_place_is_at_that_place_in_the_warped_picture(seed):
    plate = ThinPlate.draw(jax.random.key(seed), 2)
    places = jnp.asarray([[[0.5, -0.3]], [[-0.55, 0.4]]], jnp.float32)
    grid = positions(HEIGHT, WIDTH)
    true = np.asarray(plate.points(places))[:, None]
    blobs = np.exp(-0.5 * np.square(grid - true).sum(-1) / 0.08**2)[..., None]
    warped = np.asarray(apply(plate, jnp.asarray(blobs, jnp.float32)))
    mass = warped.sum((1, 2))
    found = (warped * grid).sum((1, 2)) / mass
    np.testing.assert_allclose(found, places[:, 0], atol=0.01)
    assert np.abs(true[:, 0, 0] - places[:, 0]).min(-1).max() > 0.02, "it was somewhere else"


def test_the_border_goes_on_where_the_warped_picture_shows_more():
    far = IDENTITY.replace(affine=3 * IDENTITY.affine)
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 12)[None, None, :, None], (1, 8, 12, 1))
    found = np.asarray(apply(far, jnp.asarray(ramp, jnp.float32)))
    np.testing.assert_allclose(found[0, :, 0, 0], 0.2, atol=1e-6)
    np.testing.assert_allclose(found[0, :, -1, 0], 0.8, atol=1e-6)
    inner = np.diff(found[0, 4, 4:8, 0])
    np.testing.assert_allclose(inner, 3 * (0.8 - 0.2) / 11, rtol=1e-4)


def test_drawn_ones_are_near_the_identity_and_differ():
    plate = ThinPlate.draw(jax.random.key(3), 400)
    assert plate.affine.shape == (400, 2, 3) and plate.weights.shape == (400, CONTROLS)
    assert plate.affine.dtype == plate.weights.dtype == jnp.float32
    off = np.asarray(plate.affine) - np.eye(2, 3)
    np.testing.assert_allclose(off.mean(0), 0, atol=5 * thin_plate.AFFINE / 20)
    np.testing.assert_allclose(off.std(0), thin_plate.AFFINE, rtol=0.2)
    assert float(plate.weights.std()) == pytest.approx(thin_plate.SPLINE, rel=0.05)
    assert np.abs(np.corrcoef(off[:, 0, 0], plate.weights[:, 0])[0, 1]) < 0.3
