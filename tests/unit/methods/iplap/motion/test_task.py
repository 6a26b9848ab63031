"""The landmark generator as a stage: its steps in bfloat16, its terms and its metrics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stage_steps
from stage_steps import BF16, make_batch, make_stage, mark, products, terms_of

from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.models.motion import landmark_transformer
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformerConfig
from talkface_jax.task import LossContext

MOTION = LandmarkTransformerConfig(
    width=16, layers=1, heads=2, mlp=16, mel_channels=(4,) * 4, point_channels=(4,) * 7
)
SMALL_MOTION = dataclasses.replace(
    landmark_transformer.SMALL, width=16, layers=1, heads=2, mlp=32, dropout=0.0
)


@pytest.fixture(scope="module", params=[MOTION, SMALL_MOTION], ids=["published", "small"])
def motion(request):
    return make_stage(MotionTask(MotionConfig(net=request.param, references=3)))


def batch_and_outputs(task):
    batch = make_batch(task, 3)
    rng = np.random.default_rng(1)
    content = batch["content"] + rng.normal(0, 0.1, batch["content"].shape).astype(np.float32)
    return batch, {"content": jnp.asarray(content)}


def test_loss_is_the_distance_of_positions_and_of_velocities():
    task = MotionTask(MotionConfig(net=MOTION, references=3, velocity_weight=0.5))
    batch, outputs = batch_and_outputs(task)
    (objective,) = task.objectives
    terms = terms_of(objective)
    assert {name: term.weight for name, term in terms.items()} == {"position": 1, "velocity": 0.5}
    context = LossContext(outputs, batch, {}, {}, jnp.zeros((), jnp.int32))
    error = np.asarray(outputs["content"], np.float64) - batch["content"]
    position, velocity = (terms[name](context) for name in ("position", "velocity"))
    np.testing.assert_allclose(position, np.abs(error).mean(), rtol=1e-5)
    change = np.diff(error, axis=1).reshape(3, 4, -1)
    np.testing.assert_allclose(velocity, np.linalg.norm(change, axis=-1).mean(), rtol=1e-5)


def test_metrics_are_distances_in_the_middle_frame_of_the_true_samples():
    task = MotionTask(MotionConfig(net=MOTION, references=3))
    batch, outputs = batch_and_outputs(task)
    found = task.metrics(outputs, {**batch, "mask": np.array([1, 1, 0], np.float32)}, {})
    error = (np.asarray(outputs["content"]) - batch["content"])[:2, 2]
    distance = np.linalg.norm(error, axis=-1)
    expected = {
        "jaw_distance": distance[:, :17].mean(),
        "lip_distance": distance[:, 17:].mean(),
        "position_l1": np.abs(error).mean(),
    }
    assert {name: metric.compute() for name, metric in found.items()} == pytest.approx(
        expected, rel=1e-5
    )


def test_every_product_of_the_motion_step_is_bfloat16_but_for_geometry(motion, monkeypatch):
    for name in ("fit_affine", "apply_affine"):
        mark(monkeypatch, landmark_transformer, name)
    found = products(motion.step(BF16), *motion.arguments())
    others = [formats for scopes, formats in found if "affine" not in scopes]
    assert len(others) > 30 and all(formats == {"bfloat16"} for formats in others)
    residual = motion.task.config.net.head == "residual"
    assert (len(others) < len(found)) == residual


def test_evaluation_and_plain_steps_stay_float32(motion):
    stage_steps.assert_plain_is_float32(motion)


def test_state_stays_float32_under_bfloat16(motion):
    stage_steps.assert_state_stays_float32(motion)


def slope(state, player):
    """The gradient of one step of Adam, from its first moment; flat."""
    moment = state.nets[player].opt_state[0].mu
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(moment)])


@pytest.mark.slow
def test_bfloat16_step_is_near_the_float32_one():
    """The small net, for conv stacks take a minute to compile in this format on a CPU."""
    stage = make_stage(MotionTask(MotionConfig(net=SMALL_MOTION, references=3)))
    exact, expected = jax.jit(stage.step())(*stage.arguments())
    rounded, metrics = jax.jit(stage.step(BF16))(*stage.arguments())
    for name in ("position", "velocity", "total"):
        value = expected[f"loss/motion/{name}"]
        np.testing.assert_allclose(metrics[f"loss/motion/{name}"], value, rtol=0.02)
    a, b = slope(exact, "motion"), slope(rounded, "motion")
    assert a.dtype == b.dtype == np.float32 and (a != b).any()
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
