import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.losses import adversarial, landmark, perceptual, pixel
from talkface_jax.models.frozen.vgg import Vgg, VggConfig, normalise


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def array(values):
    return jnp.asarray(values, jnp.float32)


def test_l1_per_item(rng):
    a, b = rng.normal(size=(2, 3, 4, 5, 3))
    expected = np.abs(a - b).mean((1, 2, 3))
    np.testing.assert_allclose(pixel.l1(array(a), array(b)), expected, rtol=1e-5)


def test_weighted_l1_ignores_what_has_no_weight(rng):
    a, b = rng.normal(size=(2, 2, 4, 4, 3))
    weight = np.zeros((1, 4, 4, 1))
    weight[:, 2:, 1:, 0] = [1.0, 2.0, 1.0]
    difference = np.abs(a - b) * weight
    expected = difference.sum((1, 2, 3)) / (weight.sum() * 3)
    np.testing.assert_allclose(
        pixel.weighted_l1(array(a), array(b), array(weight)), expected, rtol=1e-5
    )


def test_landmark_losses(rng):
    a, b = rng.normal(size=(2, 3, 5, 57, 2))
    np.testing.assert_allclose(
        landmark.landmark_l1(array(a), array(b)), np.abs(a - b).mean((1, 2, 3)), rtol=1e-5
    )
    speed = np.diff(a - b, axis=1).reshape(3, 4, 114)
    expected = np.sqrt((speed**2).sum(-1)).mean(-1)
    np.testing.assert_allclose(landmark.landmark_velocity(array(a), array(b)), expected, rtol=1e-5)


def test_squared_landmark_losses(rng):
    a, b = rng.normal(size=(2, 3, 5, 68, 2))
    error, speed = a - b, np.diff(a - b, axis=1)
    np.testing.assert_allclose(
        landmark.landmark_mse(array(a), array(b)), (error**2).mean((1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(
        landmark.landmark_velocity_mse(array(a), array(b)), (speed**2).mean((1, 2, 3)), rtol=1e-5
    )
    weight = rng.uniform(0, 3, 68).astype(np.float32)
    shares = weight[:, None] / weight.sum()
    for function, values in (
        (landmark.landmark_mse, error),
        (landmark.landmark_velocity_mse, speed),
    ):
        expected = ((values**2) * shares).sum(2).mean((1, 2))
        np.testing.assert_allclose(function(array(a), array(b), weight=weight), expected, rtol=1e-5)
        # Only what the weights say relative to each other counts.
        np.testing.assert_allclose(
            function(array(a), array(b), weight=5 * weight), expected, rtol=1e-5
        )


def test_velocity_of_a_constant_error_is_zero_with_a_zero_gradient(rng):
    a = array(rng.normal(size=(1, 5, 3, 2)))

    def loss(shift):
        return landmark.landmark_velocity(a + shift, a).sum()

    value, slope = jax.value_and_grad(loss)(jnp.zeros_like(a))
    assert float(value) == 0
    np.testing.assert_array_equal(slope, 0)


def discriminator_features(rng, scores):
    return [
        [array(rng.normal(size=(2, 4, 4, 3))), array(rng.normal(size=(2, 2, 2, 5))), array(score)]
        for score in scores
    ]


def test_lsgan(rng):
    real_scores = rng.normal(size=(2, 2, 3, 3, 1))
    fake_scores = rng.normal(size=(2, 2, 3, 3, 1))
    real = discriminator_features(rng, real_scores)
    fake = discriminator_features(rng, fake_scores)
    axes = (2, 3, 4)
    np.testing.assert_allclose(
        adversarial.lsgan_generator(fake), ((fake_scores - 1) ** 2).mean(axes).sum(0), rtol=1e-5
    )
    expected = (((real_scores - 1) ** 2).mean(axes) + (fake_scores**2).mean(axes)).sum(0) / 2
    np.testing.assert_allclose(adversarial.lsgan_discriminator(real, fake), expected, rtol=1e-5)


def test_hinge(rng):
    real_scores = rng.normal(scale=2, size=(2, 2, 3, 3, 1))
    fake_scores = rng.normal(scale=2, size=(2, 2, 3, 3, 1))
    real = discriminator_features(rng, real_scores)
    fake = discriminator_features(rng, fake_scores)
    axes = (2, 3, 4)
    np.testing.assert_allclose(
        adversarial.hinge_generator(fake), -fake_scores.mean(axes).sum(0), rtol=1e-4, atol=1e-6
    )
    short = np.maximum(0, 1 - real_scores), np.maximum(0, 1 + fake_scores)
    assert all((x == 0).any() and (x > 1).any() for x in short), "both sides of both kinks"
    expected = sum(x.mean(axes) for x in short).sum(0)
    np.testing.assert_allclose(adversarial.hinge_discriminator(real, fake), expected, rtol=1e-5)


def test_hinge_has_no_slope_beyond_the_margin(rng):
    sure = np.stack([np.full((2, 3, 3, 1), 1.5)] * 2)
    real, fake = (discriminator_features(rng, sign * sure) for sign in (1, -1))
    value, slopes = jax.value_and_grad(lambda both: adversarial.hinge_discriminator(*both).sum())(
        (real, fake)
    )
    assert float(value) == 0
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(slopes))
    # Confused, it is wrong by the whole margin on both.
    np.testing.assert_allclose(adversarial.hinge_discriminator(fake, real), 2 * (2.5 + 2.5))


def test_feature_matching_leaves_scores_out_and_real_features_fixed(rng):
    scores = rng.normal(size=(2, 2, 3, 3, 1))
    real, fake = (discriminator_features(rng, scores) for _ in range(2))
    differences = [
        np.abs(np.asarray(fake[s][i]) - np.asarray(real[s][i])).mean((1, 2, 3))
        for s in range(2)
        for i in range(2)
    ]
    np.testing.assert_allclose(
        adversarial.feature_matching(fake, real), sum(differences) / 2, rtol=1e-5
    )
    slopes = jax.grad(lambda real: adversarial.feature_matching(fake, real).sum())(real)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(slopes))


def test_gram_is_divided_by_all_sizes(rng):
    x = rng.normal(size=(2, 3, 4, 5))
    flat = x.reshape(2, 12, 5)
    expected = np.einsum("bpc,bpd->bcd", flat, flat) / 60
    np.testing.assert_allclose(perceptual.gram(array(x)), expected, rtol=1e-4, atol=1e-5)


class TestPerceptual:
    network = VggConfig(stages=(1, 1), channels=(2, 3))

    @pytest.fixture
    def params(self, rng):
        tree = jax.eval_shape(
            Vgg(self.network, ("relu2_1",)).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3))
        )["params"]
        return jax.tree.map(lambda x: array(rng.normal(size=x.shape)), tree)

    def features(self, **keywords):
        return perceptual.PerceptualFeatures(network=self.network, depth=2, **keywords)

    def test_values(self, params, rng):
        a, b = rng.uniform(size=(2, 2, 8, 8, 3))
        make = self.features()
        found = make(params, array(a)), make(params, array(b))
        layers = ("relu1_1", "relu2_1")

        def by_hand(image):
            fed = normalise(array(image), pixels="imagenet")
            return Vgg(self.network, layers).apply({"params": params}, fed)

        small = [x.reshape(2, 4, 2, 4, 2, 3).mean((2, 4)) for x in (a, b)]
        pairs = [(by_hand(a), by_hand(b)), (by_hand(small[0]), by_hand(small[1]))]
        expected = sum(
            np.abs(np.asarray(x[k]) - np.asarray(y[k])).mean((1, 2, 3))
            for x, y in pairs
            for k in layers
        )
        np.testing.assert_allclose(perceptual.perceptual(*found), expected, rtol=1e-4)
        full_size = sum(
            np.abs(
                np.asarray(perceptual.gram(pairs[0][0][k]))
                - np.asarray(perceptual.gram(pairs[0][1][k]))
            ).mean((1, 2))
            for k in layers
        )
        np.testing.assert_allclose(perceptual.style(*found), full_size, rtol=1e-4)

    def test_equal_images_cost_nothing_and_others_pull_together(self, params, rng):
        a, b = (array(x) for x in rng.uniform(size=(2, 1, 8, 8, 3)))
        make = self.features(scales=1)

        def loss(image):
            return perceptual.perceptual(make(params, image), make(params, b)).sum()

        assert float(loss(b)) == 0
        slope = jax.grad(loss)(a)
        assert float(loss(a - 1e-3 * slope / jnp.linalg.norm(slope))) < float(loss(a))

    def test_frozen_parameters_get_no_gradient(self, params, rng):
        image = array(rng.uniform(size=(1, 8, 8, 3)))
        make = self.features(scales=1)
        slopes = jax.grad(lambda p: sum(x.sum() for x in make(p, image)[0].values()))(params)
        assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(slopes))


def test_total_variation_is_the_mean_step_across_plus_down():
    x = np.random.default_rng(1).random((2, 6, 7, 2))
    expected = [
        np.mean([abs(p[i, j + 1] - p[i, j]) for i in range(6) for j in range(6)])
        + np.mean([abs(p[i + 1, j] - p[i, j]) for i in range(5) for j in range(7)])
        for p in x
    ]
    np.testing.assert_allclose(pixel.total_variation(jnp.asarray(x)), expected, rtol=1e-5)


def test_a_flat_map_has_no_variation_and_no_slope():
    flat = jnp.full((1, 5, 5, 1), 0.7)
    value, slope = jax.value_and_grad(lambda x: pixel.total_variation(x).sum())(flat)
    assert float(value) == 0
    assert np.isfinite(slope).all()
