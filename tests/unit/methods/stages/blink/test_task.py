"""The blink stage: its loss terms, and blinks learned from nothing but tracks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.evaluate.blinks import ConstantBlinker, evaluate_blinks
from talkface_jax.landmarks import blinks
from talkface_jax.losses import blink_features as features
from talkface_jax.losses.distribution import mmd
from talkface_jax.methods.stages.blink.chain import WARMUP
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.blink.task import BlinkTask
from talkface_jax.models.motion.blink_lstm import BlinkLstmConfig
from talkface_jax.task import LossContext

NET = BlinkLstmConfig(width=6, head=4)


def context_of(task, made, real):
    return LossContext({"blink": made}, {"blink": real}, {}, {}, jnp.zeros((), jnp.int32))


def test_terms_are_the_mmd_of_each_set_of_features(closures, tracks_of):
    config = BlinkConfig(net=NET, interval_weight=3.0, pause_weight=0.0, mmd_weight=0.5)
    task = BlinkTask(config)
    made, real = (tracks_of(closures(6, 75, seed)) for seed in (1, 2))
    made = made + np.random.default_rng(0).normal(0, 0.01, made.shape).astype(np.float32)
    made[0, 0, 3, 0] = 4.0
    (objective,) = task.objectives
    terms = {term.name: term for term in objective.terms}
    weights = {name: term.weight for name, term in terms.items()}
    half = dict.fromkeys(("position", "patch", "count", "shape"), 0.5)
    assert weights == {**half, "interval": 1.5, "range": 1.0}
    context = context_of(task, jnp.asarray(made), jnp.asarray(real))
    values = jax.jit(lambda: {name: term(context) for name, term in terms.items()})()
    curves = [jnp.asarray(blinks.closure(item)) for item in (made, real)]
    sets = {
        "position": features.positions,
        "interval": features.lagged_products,
        "patch": features.patches,
        "count": features.counts,
    }
    expected = {name: [function(c) for c in curves] for name, function in sets.items()}
    expected["shape"] = [
        features.shape(jnp.asarray(item), c) for item, c in zip((made, real), curves, strict=True)
    ]
    for name, pair in expected.items():
        np.testing.assert_allclose(values[name], jax.jit(mmd)(*pair), rtol=1e-3, atol=1e-5)
    assert values["range"] > 0


def test_without_the_mmd_only_the_range_is_left():
    (objective,) = BlinkTask(BlinkConfig(net=NET, mmd_weight=0.0)).objectives
    assert [term.name for term in objective.terms] == ["range"]


def test_forward_gives_as_many_windows_as_there_are_real_ones(closures, tracks_of):
    task = BlinkTask(BlinkConfig(net=NET, window=30, rounds=2))
    batch = {"blink": tracks_of(closures(5, 30))}
    shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), shapes)
    forward = jax.jit(
        lambda key: task.forward(variables, {}, batch, key, step=0, train=True)[0]["blink"]
    )
    one, other = forward(jax.random.key(1)), forward(jax.random.key(2))
    assert one.shape == (5, 30, 22, 2)
    assert jnp.any(one != other) and jnp.array_equal(one, forward(jax.random.key(1)))
    # Two windows of one track: the second goes on where the first ends.
    noise = jax.random.normal(jax.random.key(1), (3, 60, 10))
    tracks = jax.jit(task.nets["blink"].apply)(variables["blink"], noise)
    np.testing.assert_allclose(one[:2].reshape(60, 22, 2), tracks[0], atol=1e-5)
    np.testing.assert_allclose(one[4], tracks[2, :30], atol=1e-5)


def test_fitted_gives_mean_and_deviation_of_closed_lids(closures, closing):
    rng = np.random.default_rng(3)
    curves, samples, shut = closures(20, 75), [], []
    for curve in curves:
        direction = closing + rng.normal(0, 0.01, closing.shape) * (blinks.CLOSING == 0)
        samples.append({"blink": (curve[:, None, None] * direction).astype(np.float32)})
        if curve.max() > 0.5:
            shut.append(direction * curve[curve > 0.9 * curve.max()].mean())
    task = BlinkTask(BlinkConfig(net=NET))
    fitted = task.fitted(lambda: samples)["blink"]["constants"]
    fresh = jax.eval_shape(task.init, jax.random.key(0), samples[0])["blink"]["constants"]
    for name, value in (("closing", np.mean(shut, 0)), ("variety", np.std(shut, 0))):
        assert (fitted[name].shape, fitted[name].dtype) == (fresh[name].shape, fresh[name].dtype)
        np.testing.assert_allclose(fitted[name], value, rtol=1e-3, atol=1e-6)
    assert task.fitted(lambda: [{"blink": np.zeros((75, 22, 2), np.float32)}]) == {}


def test_metrics_are_rates_of_the_true_samples(closures, tracks_of):
    task = BlinkTask(BlinkConfig(net=NET))
    real, made = (tracks_of(closures(8, 75, seed)) for seed in (4, 5))
    mask = np.array([1.0] * 6 + [0.0] * 2, np.float32)
    found = task.metrics({"blink": jnp.asarray(made)}, {"blink": real, "mask": mask}, {})
    for name, tracks in (("rate", made), ("true_rate", real)):
        count = sum(len(blinks.find_blinks(curve)) for curve in blinks.closure(tracks[:6]))
        assert found[name].compute() == pytest.approx(count / 18, abs=0.08)
    assert 0.03 < found["closed"].compute() < 0.12


def train(config, windows, *, steps, seed=0):
    """Variables after so many steps on random batches of windows."""
    task = BlinkTask(config)
    fitted = task.fitted(lambda: [{"blink": window} for window in windows[:200]])
    variables = jax.jit(task.init)(jax.random.key(seed), {"blink": windows[:2]})["blink"]
    params, constants = variables["params"], fitted["blink"]
    rate = optax.warmup_cosine_decay_schedule(0, 4e-3, 50, steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))
    (objective,) = task.objectives

    @jax.jit
    def step(params, state, batch, key):
        def loss(params):
            variables = {"blink": {"params": params, **constants}}
            outputs, _ = task.forward(variables, {}, {"blink": batch}, key, step=0, train=True)
            context = context_of(task, outputs["blink"], batch)
            return sum(term.weight * term(context) for term in objective.terms)

        slopes = jax.grad(loss)(params)
        updates, state = optimiser.update(slopes, state)
        return optax.apply_updates(params, updates), state

    rng, state = np.random.default_rng(seed), optimiser.init(params)
    for number in range(steps):
        batch = windows[rng.integers(len(windows), size=128)]
        key = jax.random.key(1000 * seed + number)
        params, state = step(params, state, batch, key)
    return task, {"params": params, **constants}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_blinks_are_learned_by_the_mmd_and_by_nothing_else(closures, tracks_of):
    """The acceptance test on a made-up process: with the MMD the two-sample test passes, without
    it, it fails."""
    windows = tracks_of(np.concatenate([closures(400, 75, seed) for seed in (10, 11)]))
    real = [curve[: 70 + 5 * (k % 8)] for k, curve in enumerate(closures(160, 110, seed=12))]
    constant = ConstantBlinker.of(list(closures(80, 100, seed=13)))
    config = BlinkConfig(net=BlinkLstmConfig(width=48), interval_weight=2.0, count_weight=2.0)
    reports = {}
    for weight in (1.0, 0.0):
        task, variables = train(
            dataclasses.replace(config, mmd_weight=weight), windows, steps=1000 if weight else 200
        )
        apply = jax.jit(task.nets["blink"].apply)

        def generate(seed, frames, apply=apply, variables=variables):
            # As the chain does: the first state is forgotten before anything is used.
            shape = (1, WARMUP + frames, config.net.noise)
            noise = jax.random.normal(jax.random.key(seed), shape)
            return blinks.closure(np.asarray(apply(variables, noise)))[0, WARMUP:]

        reports[weight] = evaluate_blinks(generate, real, constant=constant)
    # Over the same resampled clips: the two intervals may overlap where their difference is sure.
    assert reports[1.0].natural and reports[1.0].difference.low > 0
    assert not reports[0.0].natural and not reports[0.0].difference.low > 0
