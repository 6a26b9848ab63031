"""A batch and what a renderer might make of it, for tests of terms and of pictures."""

import jax.numpy as jnp
import numpy as np
import pytest

SIZE = 32


def make_batch(rows=2, seed=0):
    draw = np.random.default_rng(seed)
    image, points = (rows, SIZE, SIZE, 3), (rows, 68, 2)
    return {
        "face": draw.integers(0, 256, image).astype(np.uint8),
        "identity": draw.integers(0, 256, image).astype(np.uint8),
        "points": draw.uniform(0.2, 0.8, points).astype(np.float32),
        "identity_points": draw.uniform(0.2, 0.8, points).astype(np.float32),
        "emotion": draw.uniform(0, 1, (rows, 8)).astype(np.float32),
        "face_emotion": draw.uniform(0, 1, (rows, 8)).astype(np.float32),
    }


def make_outputs(rows=2, seed=1):
    draw = np.random.default_rng(seed)
    image = (rows, SIZE, SIZE)
    return {
        "image": jnp.asarray(draw.random((*image, 3)), jnp.float32),
        "flow": jnp.asarray(draw.normal(0, 2, (*image, 2)), jnp.float32),
        "occlusion": jnp.asarray(draw.random((*image, 1)), jnp.float32),
    }


@pytest.fixture
def batch():
    return make_batch()


@pytest.fixture
def outputs():
    return make_outputs()
