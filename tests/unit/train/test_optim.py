"""Optimisers against their textbook update, and schedules by number of updates."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax.config import OptimConfig
from talkface_jax.task import Objective
from talkface_jax.train.optim import make_schedule, make_transform, updates_before

PARAMS = jnp.asarray([1.0, -2.0])
GRADIENT = jnp.asarray([3.0, 4.0])


def one_update(**options):
    transform = make_transform(OptimConfig(lr=0.1, **options), updates=10)
    updates, _ = transform.update(GRADIENT, transform.init(PARAMS), PARAMS)
    return np.asarray(optax.apply_updates(PARAMS, updates))


def test_first_updates():
    np.testing.assert_allclose(one_update(name="sgd"), [0.7, -2.4], rtol=1e-6)
    # Adam's first step is lr * sign(gradient).
    np.testing.assert_allclose(one_update(name="adam"), [0.9, -2.1], rtol=1e-5)
    np.testing.assert_allclose(one_update(weight_decay=0.5), [0.85, -2.0], rtol=1e-5)
    # The gradient's norm is 5.
    np.testing.assert_allclose(one_update(name="sgd", clip_norm=1.0), [0.94, -2.08], rtol=1e-6)


def test_schedule_warms_up_and_decays():
    config = OptimConfig(lr=1.0, warmup_steps=4, schedule="cosine")
    rates = [float(make_schedule(config, updates=24)(step)) for step in range(25)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(rates[14], 0.5, rtol=1e-6)
    assert rates[24] == pytest.approx(0.0, abs=1e-6)
    constant = make_schedule(OptimConfig(lr=1.0), updates=5)
    assert float(constant(0)) == float(constant(99)) == 1.0


def test_updates_are_counted_by_activity_and_period():
    task = toy.GanTask()
    task.objectives = (
        Objective("net", (), stop=10),
        Objective("net", (), start=10),
        Objective("disc", (), start=10, every=3),
    )
    assert [updates_before(task, "net", step) for step in (0, 5, 10, 30)] == [0, 5, 10, 30]
    by_hand = [sum(i >= 10 and (i - 10) % 3 == 0 for i in range(step)) for step in range(20)]
    assert [updates_before(task, "disc", step) for step in range(20)] == by_hand
