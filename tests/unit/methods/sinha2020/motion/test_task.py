"""The motion stage: what it fits, its terms and its metrics."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.features import content
from talkface_jax.landmarks import retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.task import MotionTask
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarksConfig
from talkface_jax.task import LossContext
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_train_step

IBUG = get_scheme("ibug68")
LIPS = IBUG.groups["lips"]
SIZE = content.SIZES["ctc29"]
NET = SpeechLandmarksConfig(channels=(4, 4), hidden=6, basis=3)
CONFIG = MotionConfig(net=NET, feature="ctc29", window=4, lip_weight=3.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def make_batch(task, rows=3, seed=0):
    draw = rng(seed)
    batch = {
        name: draw.normal(0, 1 if name == "content" else 0.03, leaf.shape).astype(np.float32)
        for name, leaf in task.view.spec(rows).items()
    }
    return {**batch, "mask": np.ones(rows, np.float32)}


def context(outputs, batch):
    return LossContext(outputs=outputs, batch=batch, apply={}, frozen={}, step=jnp.zeros(()))


def test_loss_is_weighted_position_and_velocity():
    task = MotionTask(CONFIG)
    batch = make_batch(task)
    outputs = {"offsets": jnp.asarray(make_batch(task, seed=1)["offsets"])}
    (objective,) = task.objectives
    weight = np.ones(68)
    weight[LIPS] = 3
    error = np.asarray(outputs["offsets"], np.float64) - batch["offsets"]

    def expected(values):
        return (values**2 * weight[:, None]).mean() / weight.mean()

    found = {term.name: term for term in objective.terms}
    np.testing.assert_allclose(
        found["position"](context(outputs, batch)), expected(error), rtol=1e-5
    )
    np.testing.assert_allclose(
        found["velocity"](context(outputs, batch)), expected(np.diff(error, axis=1)), rtol=1e-5
    )
    assert (found["position"].weight, found["velocity"].weight) == (1.0, 10.0)


def test_metrics_are_distances_of_the_true_samples():
    task = MotionTask(CONFIG)
    batch, other = make_batch(task), make_batch(task, seed=1)
    batch["mask"][2] = 0
    found = task.metrics({"offsets": jnp.asarray(other["offsets"])}, batch, {})
    error = np.linalg.norm(other["offsets"] - batch["offsets"], axis=-1)[:2]
    a, b = IBUG.position(13), IBUG.position(14)

    def gap(item):
        return (item["offsets"][:2, :, b] - item["offsets"][:2, :, a])[..., 1]

    np.testing.assert_allclose(found["lip_distance"].compute(), error[..., LIPS].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["face_distance"].compute(), error.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        found["opening_error"].compute(), np.abs(gap(other) - gap(batch)).mean(), rtol=1e-5
    )


def low_rank_samples(rank, count=20):
    """Motion of so many components, and features with a column that never changes."""
    draw = rng(3)
    directions = draw.normal(size=(rank, 136))
    mean = draw.normal(size=136)
    for _ in range(count):
        levels = draw.normal(size=(4, rank)) * np.arange(rank, 0, -1)
        features = draw.normal(2, 3, (4, 16, SIZE))
        features[..., 5] = 7
        yield {
            "content": features.astype(np.float32),
            "offsets": (levels @ directions + mean).reshape(4, 68, 2).astype(np.float32),
        }


def test_fitted_are_principal_components_and_moments_of_the_features(caplog):
    samples = list(low_rank_samples(3))
    with caplog.at_level(logging.INFO):
        fitted = MotionTask(CONFIG).fitted(lambda: iter(samples))["motion"]
    assert "100.00 %" in caplog.text and "raise" not in caplog.text
    rows = np.concatenate([item["offsets"] for item in samples]).reshape(-1, 136)
    decoder = fitted["params"]["decoder"]
    np.testing.assert_allclose(decoder["bias"], rows.mean(0), atol=1e-5)
    _, values, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    kernel = decoder["kernel"]
    lengths = np.linalg.norm(kernel, axis=1)
    np.testing.assert_allclose(lengths, values[:3] / np.sqrt(len(rows)), rtol=1e-4)
    same = np.abs(np.sum(kernel / lengths[:, None] * directions[:3], 1))
    np.testing.assert_allclose(same, 1, rtol=1e-5)
    features = np.concatenate([item["content"] for item in samples]).reshape(-1, SIZE)
    constants = fitted["constants"]
    np.testing.assert_allclose(constants["feature_mean"], features.mean(0), rtol=1e-4)
    moving = np.arange(SIZE) != 5
    np.testing.assert_allclose(
        constants["feature_deviation"][moving], features.std(0)[moving], rtol=1e-4
    )
    assert constants["feature_deviation"][5] >= 1e-3


def test_a_basis_that_is_too_small_is_told(caplog):
    MotionTask(CONFIG).fitted(lambda: low_rank_samples(6))
    assert "raise --config.task.net.basis" in caplog.text


def test_mirrored_training_has_a_mirrored_basis():
    task = MotionTask(dataclasses.replace(CONFIG, flip=True))
    decoder = task.fitted(lambda: low_rank_samples(1))["motion"]["params"]["decoder"]
    mean = decoder["bias"].reshape(68, 2)
    np.testing.assert_allclose(retarget.mirror(mean), mean, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """State and losses of steps on one batch, from the fitted start."""
    task = MotionTask(dataclasses.replace(CONFIG, velocity_weight=1.0))
    batch, transforms = make_batch(task), {"motion": optax.adam(3e-2)}
    fitted = task.fitted(lambda: [{k: v[i] for k, v in batch.items()} for i in range(3)])["motion"]

    def start():
        state = create_state(task, transforms, seed=0, batch=batch)
        net = state.nets["motion"]
        params = {**net.params, **fitted["params"]}
        return state.replace(
            nets={"motion": net.replace(params=params, constants=fitted["constants"])}
        )

    state, losses = jax.jit(start)(), []
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    for _ in range(60):
        state, metrics = step(state, {}, batch)
        losses.append({key: float(value) for key, value in metrics.items()})
    return task, batch, fitted, state, losses


def test_training_starts_from_the_mean_motion_and_learns(trained):
    _, batch, _, _, losses = trained
    rows = batch["offsets"].reshape(-1, 68, 2)
    weight = np.ones(68)
    weight[LIPS] = 3
    still = ((rows - rows.mean(0)) ** 2 * weight[:, None]).mean() / weight.mean()
    np.testing.assert_allclose(losses[0]["loss/motion/position"], still, rtol=0.05)
    assert losses[-1]["loss/motion/total"] < 0.9 * losses[0]["loss/motion/total"]


def test_training_moves_the_basis_and_leaves_the_constants(trained):
    _, _, fitted, state, _ = trained
    net = state.nets["motion"]
    for name, value in fitted["constants"].items():
        np.testing.assert_array_equal(net.constants[name], value)
    assert not net.stats
    before = fitted["params"]["decoder"]["kernel"]
    assert np.abs(np.asarray(net.params["decoder"]["kernel"]) - before).max() > 1e-4


def test_the_network_hears_and_does_not_see(trained):
    """Who is pictured cannot matter: the prediction depends on the sound alone."""
    task, batch, _, state, _ = trained
    variables = {"motion": state.nets["motion"].variables}
    forward = jax.jit(
        lambda b: task.forward(variables, {}, b, jax.random.key(0), step=0, train=False)[0]
    )
    plain = forward(batch)["offsets"]
    blind = forward({**batch, "offsets": np.full_like(batch["offsets"], np.nan)})["offsets"]
    np.testing.assert_array_equal(plain, blind)
    deaf = forward({**batch, "content": batch["content"][::-1].copy()})["offsets"]
    np.testing.assert_allclose(deaf, plain[::-1], atol=1e-6)
    assert np.abs(np.asarray(plain - deaf)).max() > 1e-3
