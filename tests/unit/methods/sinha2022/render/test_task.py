"""The render stage of sinha2022: its terms, its players, its metrics, and a step at full size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.sinha2022.render.task import RenderTask
from talkface_jax.metrics import lpips
from talkface_jax.models.render.flow_texture import SMALL, FlowTextureConfig
from talkface_jax.task import LossContext
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_train_step

SIZE = 32
NET = dataclasses.replace(SMALL, size=SIZE, channels=4, blocks=1, motion_channels=4)
CONFIG = RenderConfig(
    net=NET, perceptual="none", perceptual_weight=0.0, disc_channels=4, disc_halvings=1
)


def test_variation_of_the_flow_in_pixels(batch, outputs):
    task = RenderTask(dataclasses.replace(CONFIG, variation_weight=0.5))
    terms = {term.name: term for term in task.objectives[0].terms}
    flow = np.asarray(outputs["flow"])
    steps = [np.abs(np.diff(flow, axis=axis)).mean() for axis in (1, 2)]
    context = LossContext(outputs, batch, {}, {}, jnp.asarray(0))
    assert terms["variation"].weight == 0.5
    np.testing.assert_allclose(terms["variation"](context), sum(steps), rtol=1e-5)


def test_without_an_adversarial_weight_there_is_no_discriminator(batch):
    """So fine-tuning needs none."""
    task = RenderTask(dataclasses.replace(CONFIG, adversarial_weight=0.0))
    assert set(task.nets) == set(task.inputs_of(batch)) == {"renderer"}
    assert [objective.players for objective in task.objectives] == [("renderer",)]
    assert [term.name for term in task.objectives[0].terms] == ["l1", "variation"]
    both = RenderTask(CONFIG)
    assert set(both.nets) == {"renderer", "disc"}
    assert [objective.players for objective in both.objectives] == [("renderer",), ("disc",)]
    shapes = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
    assert set(shapes) == {"renderer"}
    assert set(shapes["renderer"]["params"]) == {"motion", "texture"}


def test_emotions_go_into_the_network_in_their_order(batch):
    given = RenderTask(CONFIG).rendered(batch).args
    np.testing.assert_allclose(given[0], batch["identity"] / np.float32(255), rtol=1e-6)
    names = ("identity_points", "points", "emotion", "face_emotion")
    for found, name in zip(given[1:], names, strict=True):
        np.testing.assert_array_equal(found, batch[name])


def test_metrics_of_flow_and_occlusion(batch, outputs):
    batch["mask"] = np.array([1, 0], np.float32)
    merged = jax.jit(RenderTask(CONFIG).metrics)(outputs, batch, {})
    found = {name: metric.compute() for name, metric in merged.items()}
    occlusion = np.asarray(outputs["occlusion"])[0]
    length = np.linalg.norm(np.asarray(outputs["flow"])[0], axis=-1)
    assert found["occlusion_mean"] == pytest.approx(occlusion.mean(), rel=1e-5)
    assert found["occlusion_open"] == pytest.approx((occlusion > 0.5).mean(), rel=1e-5)
    assert found["flow_length"] == pytest.approx(length.mean(), rel=1e-5)
    assert "l1_moving" in found and "mouth_perceptual" not in found


def one_step(task, batch, frozen):
    """The losses before and after a step, and the largest change of each player."""
    transforms = {player: optax.adam(2e-4, 0.5) for player in task.nets}
    state = create_state(task, transforms, seed=1, batch=batch, ema_players=())
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    new, first = step(state, frozen, batch)
    _, second = step(new, frozen, batch)
    moved = {
        player: max(
            float(jnp.abs(a - b).max())
            for a, b in zip(
                jax.tree.leaves(new.nets[player].params),
                jax.tree.leaves(state.nets[player].params),
                strict=True,
            )
        )
        for player in task.nets
    }
    return first, second, moved


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_step_of_the_full_size():
    """As published but for VGG-19, whose file is none of ours: VGG-16 has layers of the same
    sizes."""
    task = RenderTask(RenderConfig(net=FlowTextureConfig(face_emotion=True), perceptual="vgg16"))
    rng = np.random.default_rng(0)
    batch = {}
    for name, leaf in task.view.spec(1).items():
        whole = np.issubdtype(leaf.dtype, np.integer)
        drawn = rng.integers(0, 256, leaf.shape) if whole else rng.uniform(0.2, 0.8, leaf.shape)
        batch[name] = drawn.astype(leaf.dtype)
    assert batch["face"].shape == (1, 256, 256, 3)
    first, second, moved = one_step(task, batch, task.frozen())
    assert set(moved) == {"renderer", "disc"}
    assert all(change > 1e-5 for change in moved.values())
    assert all(np.isfinite(value) for value in first.values())
    assert np.isfinite(second["loss/renderer/total"])
    assert second["loss/renderer/total"] != first["loss/renderer/total"]


def test_lpips_where_it_is_asked_for(batch, outputs):
    task = RenderTask(dataclasses.replace(CONFIG, measure_lpips=True))
    batch["mask"] = np.array([1, 0], np.float32)
    images = np.rint(np.asarray(outputs["image"]) * 255).astype(np.uint8)
    outputs = {**outputs, "image": jnp.asarray(images, jnp.float32) / 255}
    frozen = task.frozen()
    assert set(frozen) == {"lpips"} and not RenderTask(CONFIG).frozen()
    found = jax.jit(task.metrics)(outputs, batch, frozen)["lpips"].compute()
    expected = lpips.load_lpips()(images[:1], batch["face"][:1])
    assert found == pytest.approx(expected[0], rel=1e-4)
