"""The render stage of sinha2020: its terms, its metrics, and what the discriminator is told."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.sinha2020.render.task import RenderTask
from talkface_jax.models import close_up
from talkface_jax.models.render.attention_texture import SMALL
from talkface_jax.task import LossContext

SIZE = 32
NET = dataclasses.replace(SMALL, size=SIZE, channels=4, blocks=1)
CONFIG = RenderConfig(
    net=NET,
    perceptual="none",
    perceptual_weight=0.0,
    region_weight=4.0,
    disc_channels=4,
    disc_halvings=1,
)


@functools.cache
def compiled(config):
    """Terms by name and the discriminator's inputs, from batch and outputs."""
    task = RenderTask(config)

    @jax.jit
    def run(batch, outputs):
        seen = []

        def disc(x):
            seen.append(x)
            return [[x.mean(-1, keepdims=True)]]

        context = LossContext(outputs, batch, {"disc": disc}, {}, jnp.asarray(0))
        values = {t.name: t(context) for objective in task.objectives for t in objective.terms}
        return values, seen

    return run


def region_by_hand(points):
    centres = (np.arange(SIZE) + 0.5) / SIZE
    grid = np.stack(np.meshgrid(centres, centres), -1)
    away = np.linalg.norm(grid[None, :, :, None] - points[:, None, None, 36:], axis=-1).min(-1)
    return np.exp(-0.5 * (away / 0.05) ** 2)[..., None]


def test_terms_and_their_weights(batch, outputs):
    values, _ = compiled(CONFIG)(batch, outputs)
    generating, judging = RenderTask(CONFIG).objectives
    weights = {term.name: term.weight for term in generating.terms}
    assert weights == {"l1": 10.0, "adversarial": 1.0, "attention": 0.1, "variation": 0.1}
    assert [term.name for term in judging.terms] == ["lsgan"]
    error = np.abs(np.asarray(outputs["image"]) - batch["face"] / 255)
    weight = np.broadcast_to(1 + 4 * region_by_hand(batch["points"]), error.shape)
    expected = ((weight * error).mean((1, 2, 3)) / weight.mean((1, 2, 3))).mean()
    np.testing.assert_allclose(values["l1"], expected, rtol=1e-4)
    np.testing.assert_allclose(values["attention"], outputs["attention"].mean(), rtol=1e-5)
    plain = RenderTask(dataclasses.replace(CONFIG, region_weight=0.0)).objectives[0].terms[0]
    context = LossContext(outputs, batch, {}, {}, jnp.asarray(0))
    np.testing.assert_allclose(plain(context), error.mean(), rtol=1e-4)


def test_discriminator_judges_both_images_given_identity_and_landmarks(batch, outputs):
    values, (fake, real) = jax.device_get(compiled(CONFIG)(batch, outputs))
    assert fake.shape == real.shape == (2, SIZE // 2, SIZE // 2, 3 + 3 + 9)

    def halved(x):
        return np.asarray(x).reshape(2, SIZE // 2, 2, SIZE // 2, 2, -1).mean((2, 4))

    np.testing.assert_allclose(fake[..., :3], halved(outputs["image"]), atol=1e-5)
    np.testing.assert_allclose(real[..., :3], halved(batch["face"] / 255), atol=1e-5)
    np.testing.assert_allclose(fake[..., 3:6], halved(batch["identity"] / 255), atol=1e-5)
    np.testing.assert_array_equal(fake[..., 3:], real[..., 3:])
    judged = 0.5 * ((real.mean(-1) - 1) ** 2).mean() + 0.5 * (fake.mean(-1) ** 2).mean()
    np.testing.assert_allclose(values["lsgan"], judged, rtol=1e-4)
    np.testing.assert_allclose(values["adversarial"], ((fake.mean(-1) - 1) ** 2).mean(), rtol=1e-4)
    moved = {**batch, "points": batch["points"] + np.float32(0.1)}
    _, (other, _) = compiled(CONFIG)(moved, outputs)
    assert np.abs(other[..., 6:] - fake[..., 6:]).max() > 0.3
    np.testing.assert_allclose(other[..., :6], fake[..., :6], atol=1e-6)


def test_metrics_tell_a_saturated_attention(batch, outputs):
    batch["mask"] = np.array([1, 0], np.float32)
    attention = np.full((2, SIZE, SIZE, 1), 0.5, np.float32)
    attention[0, :8], attention[0, 8:12], attention[1] = 0.99, 0.01, 0.97
    outputs["attention"] = jnp.asarray(attention)
    merged = jax.jit(RenderTask(CONFIG).metrics)(outputs, batch, {})
    found = {name: metric.compute() for name, metric in merged.items()}
    assert found["attention_high"] == pytest.approx(8 / SIZE)
    assert found["attention_low"] == pytest.approx(4 / SIZE)
    assert found["attention_mean"] == pytest.approx(attention[0].mean(), rel=1e-5)
    region = region_by_hand(batch["points"])[:1]
    for name, image in (("l1_moving", outputs["image"]), ("l1_moving_identity", None)):
        image = batch["identity"] / 255 if image is None else np.asarray(image)
        error = np.abs(image - batch["face"] / 255)[:1]
        expected = (error * region).sum() / region.sum() / 3
        assert found[name] == pytest.approx(expected, rel=1e-3)


def test_mouth_term_looks_at_the_close_up_alone(batch):
    config = dataclasses.replace(
        CONFIG, perceptual="vgg16", perceptual_layers=2, perceptual_halvings=1, mouth_weight=2.0
    )
    task = RenderTask(config)
    terms = {term.name: term for term in task.objectives[0].terms}
    assert terms["mouth"].weight == 2.0
    assert "perceptual" not in terms
    frozen = task.frozen()

    @jax.jit
    def mouth(image):
        return terms["mouth"](LossContext({"image": image}, batch, {}, frozen, jnp.asarray(0)))

    truth = batch["face"] / np.float32(255)
    where = np.broadcast_to(np.indices((SIZE, SIZE)).transpose(1, 2, 0) / SIZE, (2, SIZE, SIZE, 2))
    inside = np.asarray(close_up.mouth(where, batch["points"]))
    covered = np.zeros((2, SIZE, SIZE, 1), bool)
    for item in range(2):
        (top, left), (bottom, right) = (inside[item, i, i] * SIZE for i in (0, -1))
        covered[item, int(top) : int(bottom) + 1, int(left) : int(right) + 1] = True
    assert mouth(truth) < 1e-5
    assert mouth(np.where(covered, truth, 1 - truth)) < 1e-5
    assert mouth(np.where(covered, 1 - truth, truth)) > 0.1


def test_a_perceptual_network_without_weight_is_not_asked_for():
    """The published one needs a file."""
    task = RenderTask(RenderConfig(perceptual_weight=0.0))
    assert task.frozen() == {}
    assert "perceptual" not in [term.name for term in task.objectives[0].terms]
    with pytest.raises(WeightsError, match="needs VGG-19"):
        RenderTask(RenderConfig()).frozen()


def test_discriminator_of_the_published_size():
    published = RenderTask(RenderConfig())
    batch = published.view.spec(1)
    variables = jax.eval_shape(published.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
    kernel = variables["disc"]["params"]["scale_0"]["conv_0"]["kernel"]
    assert kernel.shape == (4, 4, 15, 64)
    assert set(variables["disc"]["params"]) == {"scale_0"}
