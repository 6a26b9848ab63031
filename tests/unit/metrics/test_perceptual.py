"""The perceptual distance at the mouth: what it sees, and what it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.interop import weights
from talkface_jax.metrics.perceptual import mouth_crops, mouth_perceptual
from talkface_jax.models.frozen.vgg import VGG16

SIZE = 64
LIPS = np.array([[[0.4, 0.7], [0.6, 0.7], [0.5, 0.65], [0.5, 0.75]]] * 2, np.float32)
ALL = np.ones(2, np.float32)


@pytest.fixture(scope="module")
def distance():
    measure = jax.jit(
        functools.partial(mouth_perceptual, params=weights.load_vgg16(), network=VGG16)
    )
    return lambda image, target, mask=ALL: measure(image, target, LIPS, mask).compute()


@pytest.fixture(scope="module")
def target():
    """Two pictures with edges and texture everywhere."""
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0.2, 0.8, (2, SIZE // 4, SIZE // 4, 3))
    return np.kron(blocks, np.ones((1, 4, 4, 1))).astype(np.float32)


def _mouth():
    """Where the squares lie: half as wide as the picture, around (0.5, 0.7), moved inwards."""
    inside = np.zeros((1, SIZE, SIZE, 1), np.float32)
    inside[:, 29:61, 16:48] = 1
    return inside


def _blurred(pictures):
    for axis in (1, 2):
        pictures = sum(np.roll(pictures, k, axis) for k in range(-2, 3)) / 5
    return pictures


def test_it_is_zero_of_the_same_and_at_most_four(distance, target):
    assert distance(target, target) == 0
    assert 0 < distance(1 - target, target) <= 4


def test_it_sees_the_mouth_alone(distance, target):
    noise = np.random.default_rng(1).normal(0, 0.2, target.shape).astype(np.float32)
    elsewhere = np.clip(target + noise * (1 - _mouth()), 0, 1)
    assert distance(elsewhere, target) == 0
    assert distance(np.clip(target + noise * _mouth(), 0, 1), target) > 0.01


def test_padding_does_not_count(distance, target):
    image = _blurred(target)
    both, first = distance(image, target), distance(image[:1].repeat(2, 0), target[:1].repeat(2, 0))
    image[1] = np.nan
    assert distance(image, target, np.array([1, 0], np.float32)) == pytest.approx(first, rel=1e-4)
    assert both != pytest.approx(first, rel=1e-4)


def test_a_soft_mouth_is_worse_than_one_of_another_brightness_with_the_same_l1(distance, target):
    """By L1 the two are equal, and a GAN's sharper pictures lose."""
    soft = _blurred(target)
    brighter = target + np.abs(soft - target).mean()
    assert np.abs(brighter - target).mean() == pytest.approx(np.abs(soft - target).mean(), rel=1e-3)
    assert distance(soft, target) > 2 * distance(brighter, target)


@pytest.mark.parametrize(
    ("middle", "corner"), [((0.5, 0.5), (16, 16)), ((0.0, 0.9), (0, 32)), ((1.2, -0.3), (32, 0))]
)
def test_squares_stay_inside_the_picture(middle, corner):
    picture = np.arange(SIZE * SIZE, dtype=np.float32).reshape(1, SIZE, SIZE, 1)
    lips = np.full((1, 3, 2), middle, np.float32)
    x, y = corner
    cut = mouth_crops(jnp.asarray(picture), lips, side=32)
    np.testing.assert_array_equal(cut, picture[:, y : y + 32, x : x + 32])
