import jax.numpy as jnp
import numpy as np

from talkface_jax.models.geometry import (
    apply_affine,
    fit_affine,
    fit_affine_in_space,
    inverse_3x3,
)


def test_inverse_is_numpys():
    matrices = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(
        inverse_3x3(jnp.asarray(matrices)), np.linalg.inv(matrices), rtol=1e-3, atol=1e-3
    )


def test_fit_recovers_affine_maps_and_ignores_nothing():
    rng = np.random.default_rng(1)
    source = rng.uniform(0.1, 0.9, (2, 74, 2))
    linear = np.eye(2) + 0.1 * rng.normal(size=(2, 3, 2, 2))
    shift = 0.1 * rng.normal(size=(2, 3, 1, 2))
    target = np.einsum("bni,bmij->bmnj", source, linear) + shift
    maps = fit_affine(jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32))
    moved = apply_affine(jnp.asarray(source, jnp.float32), maps)
    np.testing.assert_allclose(moved, target, atol=2e-4)


def test_fit_is_least_squares():
    rng = np.random.default_rng(2)
    source, target = rng.uniform(size=(1, 20, 2)), rng.uniform(size=(1, 1, 20, 2))
    design = np.concatenate([source[0] - 0.5, np.ones((20, 1))], -1)
    expected = np.linalg.lstsq(design, target[0, 0], rcond=None)[0]
    maps = fit_affine(jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32))
    np.testing.assert_allclose(maps[0, 0], expected, atol=1e-3)


def test_fit_in_space_is_least_squares():
    rng = np.random.default_rng(3)
    source, target = rng.uniform(-1, 1, (2, 17, 3)), rng.uniform(size=(2, 17, 2))
    turn, offset = fit_affine_in_space(*(jnp.asarray(x, jnp.float32) for x in (source, target)))
    for k in range(2):
        design = np.concatenate([source[k], np.ones((17, 1))], -1)
        expected = np.linalg.lstsq(design, target[k], rcond=None)[0]
        np.testing.assert_allclose(turn[k], expected[:3], atol=1e-3)
        np.testing.assert_allclose(offset[k, 0], expected[3], atol=1e-3)
