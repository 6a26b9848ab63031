"""Terms of render stages: what they compare, and that shared parts are computed once."""

import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.losses import adversarial, image_terms, perceptual
from talkface_jax.losses.perceptual import PerceptualFeatures
from talkface_jax.models.frozen.vgg import Vgg, VggConfig
from talkface_jax.task import LossContext

NETWORK = VggConfig(stages=(1, 1), channels=(2, 3))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def face(rng):
    return rng.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def image(rng):
    return rng.random((2, 8, 8, 3)).astype(np.float32)


def context(face, image, **frozen):
    calls = []

    def disc(x):
        calls.append(x)
        return [[x * 2, x.mean(-1, keepdims=True)]]

    outputs = {"image": jnp.asarray(image), "warped": jnp.asarray(image) * 0.5}
    made = LossContext(outputs, {"face": jnp.asarray(face)}, {"disc": disc}, frozen, jnp.asarray(0))
    return made, calls


def test_l1_is_against_the_bytes_of_the_face(face, image):
    here, _ = context(face, image)
    for name, factor in (("image", 1.0), ("warped", 0.5)):
        expected = np.abs(factor * image - face / 255).mean((1, 2, 3))
        np.testing.assert_allclose(image_terms.l1_term(name)(here), expected, rtol=1e-5)


def test_adversarial_terms_share_what_the_discriminator_says(face, image):
    here, calls = context(face, image)
    real, fake = (face / 255).mean(-1), image.mean(-1)
    np.testing.assert_allclose(
        image_terms.fool_term()(here), ((fake - 1) ** 2).mean((1, 2)), rtol=1e-4
    )
    judged = 0.5 * (((real - 1) ** 2).mean((1, 2)) + (fake**2).mean((1, 2)))
    np.testing.assert_allclose(image_terms.judge_term()(here), judged, rtol=1e-4)
    matched = 2 * np.abs(image - face / 255).mean((1, 2, 3))
    np.testing.assert_allclose(image_terms.matching_term()(here), matched, rtol=1e-4)
    assert len(calls) == 2


def test_the_loss_of_the_adversarial_terms_may_be_another(face, image):
    here, calls = context(face, image)
    real, fake = (face / 255).mean(-1), image.mean(-1)
    fool = image_terms.fool_term(loss=adversarial.hinge_generator)
    np.testing.assert_allclose(fool(here), -fake.mean((1, 2)), rtol=1e-4)
    judge = image_terms.judge_term(loss=adversarial.hinge_discriminator)
    judged = (1 - real).mean((1, 2)) + (1 + fake).mean((1, 2))
    np.testing.assert_allclose(judge(here), judged, rtol=1e-4)
    assert len(calls) == 2


def test_a_method_may_judge_in_its_own_way(face, image):
    here, calls = context(face, image)
    halves = image_terms.fool_term(lambda context, x: context.apply["disc"](x / 2))(here)
    np.testing.assert_allclose(halves, ((image.mean(-1) / 2 - 1) ** 2).mean((1, 2)), rtol=1e-4)
    assert len(calls) == 2


def test_perceptual_term_starts_at_the_halved_image(rng, face, image):
    """A quarter of the pixels: each is the mean of four."""
    kernels = {
        "conv1_1": {"kernel": rng.normal(size=(3, 3, 3, 2)), "bias": np.zeros(2)},
        "conv2_1": {"kernel": rng.normal(size=(3, 3, 2, 3)), "bias": np.zeros(3)},
    }
    params = {
        name: {key: jnp.asarray(x, jnp.float32) for key, x in leaf.items()}
        for name, leaf in kernels.items()
    }
    here, _ = context(face, image, vgg=params)
    features = PerceptualFeatures(network=NETWORK, depth=2, scales=1, halvings=1)
    found = image_terms.perceptual_term(features)(here)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def by_hand(x):
        small = np.asarray(x, np.float64).reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
        fed = jnp.asarray((small - mean) / deviation, jnp.float32)
        return Vgg(NETWORK, ("relu1_1", "relu2_1")).apply({"params": params}, fed)

    ours, theirs = by_hand(image), by_hand(face / 255)
    expected = sum(np.abs(ours[k] - theirs[k]).mean((1, 2, 3)) for k in ours)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert perceptual.PerceptualFeatures().halvings == 0


def test_no_perceptual_network_has_no_weights():
    assert image_terms.frozen_vgg("none", vgg19_path="") == {}
