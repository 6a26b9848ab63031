"""The generic step against naive code with one forward for each player."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax.task import Averages, LossContext, Objective, Update
from talkface_jax.train.state import create_state, evaluation_variables
from talkface_jax.train.step import make_eval_step, make_train_step

LR = 0.05


@pytest.fixture(scope="module")
def batch():
    return {name: jnp.asarray(array) for name, array in toy.make_batch(8, 0).items()}


def start(task, batch, ema=()):
    transforms = {player: optax.sgd(LR) for player in task.nets}
    return transforms, create_state(task, transforms, seed=1, batch=batch, ema_players=ema)


def run(task, batch, steps=1, **options):
    transforms, state = start(task, batch)
    step = jax.jit(make_train_step(task, transforms, task.objectives, **options))
    for _ in range(steps):
        state, metrics = step(state, {}, batch)
    return state, metrics


def assert_close(a, b, rtol=2e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def distance(a, b):
    return max(
        float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


def naive_step(task, state, batch, *, alternating, frozen=None):
    """Gradient by gradient, each with a forward of its own, the way a reader would write it."""
    forward_key, _ = jax.random.split(jax.random.fold_in(state.rng, state.step))
    params = {player: net.params for player, net in state.nets.items()}
    stats = {player: net.stats for player, net in state.nets.items()}
    old, old_stats = dict(params), dict(stats)

    def loss(own, player, terms):
        seen = {**(params if alternating else old), player: own}
        generator = own if player == "net" else jax.lax.stop_gradient(old["net"])
        variables = {"net": {"params": generator, "batch_stats": old_stats["net"]}}
        outputs, new = task.forward(variables, {}, batch, forward_key, step=0, train=True)
        judged = []

        def apply(x):
            before = judged[-1] if judged else old_stats["disc"]
            result, change = task.nets["disc"].apply(
                {"params": seen["disc"], "batch_stats": before}, x, mutable=["batch_stats"]
            )
            judged.append(change["batch_stats"])
            return result

        context = LossContext(outputs, batch, {"disc": apply}, frozen or {}, state.step)
        total = sum(term.weight * term(context) for term in terms)
        return total, new["net"] if player == "net" else judged[-1]

    for objective in task.objectives:
        (player,) = objective.players
        (_, new), gradient = jax.value_and_grad(loss, has_aux=True)(
            old[player], player, objective.terms
        )
        params[player] = jax.tree.map(lambda p, g: p - LR * g, old[player], gradient)
        stats[player] = new
    return params, stats


@pytest.mark.parametrize("first", ["net", "disc"])
@pytest.mark.parametrize("update", list(Update))
def test_gan_step_equals_naive_forwards(batch, update, first):
    task = toy.GanTask(update=update, first=first)
    _, state = start(task, batch)
    after, _ = run(task, batch)
    params, stats = naive_step(task, state, batch, alternating=update is Update.ALTERNATING)
    assert_close({p: net.params for p, net in after.nets.items()}, params)
    assert_close({p: net.stats for p, net in after.nets.items()}, stats)


def test_alternating_differs_only_where_an_updated_judge_is_seen(batch):
    results = {
        (update, first): run(toy.GanTask(update=update, first=first), batch)[0].nets
        for update in Update
        for first in ("net", "disc")
    }
    simultaneous = results[Update.SIMULTANEOUS, "net"]
    # Simultaneous updates do not depend on the order.
    assert_close(results[Update.SIMULTANEOUS, "disc"], simultaneous, rtol=1e-6)
    # With the generator first nobody sees an updated judge; the outputs are of the shared forward.
    assert_close(results[Update.ALTERNATING, "net"], simultaneous, rtol=1e-6)
    judge_first = results[Update.ALTERNATING, "disc"]
    assert_close(judge_first["disc"], simultaneous["disc"], rtol=1e-6)
    assert distance(judge_first["net"].params, simultaneous["net"].params) > 1e-5


def test_one_player_l1_step_needs_no_judge(batch):
    task = toy.L1Task()
    _, state = start(task, batch)
    after, metrics = run(task, batch)
    key, _ = jax.random.split(jax.random.fold_in(state.rng, 0))

    def loss(params):
        variables = {"net": {**state.nets["net"].variables, "params": params}}
        outputs, _ = task.forward(variables, {}, batch, key, step=0, train=True)
        return jnp.abs(outputs["image"] - batch["y"]).mean()

    value, gradient = jax.value_and_grad(loss)(state.nets["net"].params)
    expected = jax.tree.map(lambda p, g: p - LR * g, state.nets["net"].params, gradient)
    assert_close(after.nets["net"].params, expected)
    assert set(metrics) == {"loss/net/l1", "loss/net/total", "grad_norm/net"}
    assert all(value.dtype == jnp.float32 and value.shape == () for value in metrics.values())
    np.testing.assert_allclose(metrics["loss/net/l1"], value, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm/net"], optax.tree.norm(gradient), rtol=1e-5)
    assert int(after.step) == 1


def test_an_objective_moves_its_own_player_only(batch):
    task = toy.GanTask()
    transforms, state = start(task, batch)
    for objective in task.objectives:
        after, _ = jax.jit(make_train_step(task, transforms, (objective,)))(state, {}, batch)
        (player,) = objective.players
        other = "disc" if player == "net" else "net"
        assert distance(after.nets[player].params, state.nets[player].params) > 0
        assert distance(after.nets[other].params, state.nets[other].params) == 0
    # The generator's objective does not touch the judge's statistics either.
    after, _ = jax.jit(make_train_step(task, transforms, task.objectives[:1]))(state, {}, batch)
    assert distance(after.nets["disc"].stats, state.nets["disc"].stats) == 0


def test_every_second_step_skips_and_says_so(batch):
    task = toy.GanTask(every=2)
    transforms, state = start(task, batch)
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    states, flags = [state], []
    for _ in range(4):
        state, metrics = step(state, {}, batch)
        states.append(state)
        flags.append(float(metrics["update/disc"]))
        assert (float(metrics["loss/disc/judge"]) > 0) == bool(flags[-1])
    assert flags == [1, 0, 1, 0]
    moved = [
        distance(a.nets["disc"].params, b.nets["disc"].params) > 0
        for a, b in itertools.pairwise(states)
    ]
    assert moved == [True, False, True, False]


def test_averages_follow_parameters_and_batch_statistics(batch):
    task = toy.L1Task()
    transforms, state = start(task, batch, ema=("net",))
    step = jax.jit(
        make_train_step(task, transforms, task.objectives, ema_decay=0.9), donate_argnums=0
    )
    expected = jax.device_get(state.ema["net"])
    for _ in range(3):
        state, _ = step(state, {}, batch)
        net = jax.device_get(state.nets["net"])
        new = Averages(net.params, net.stats)
        expected = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, expected, new)
    assert_close(state.ema["net"], expected)
    assert distance(state.ema["net"].stats, state.nets["net"].stats) > 1e-3
    seen = evaluation_variables(state)["net"]
    assert_close(seen, {"params": expected.params, "batch_stats": expected.stats})


def test_frozen_parameters_reach_the_terms_unchanged(batch):
    task = toy.L1Task()
    term = toy.Term("scaled", lambda c: c.frozen["vgg"]["scale"] * toy.l1(c))
    task.objectives = (Objective(("net",), (term,)),)
    transforms, state = start(task, batch)
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    _, once = step(state, {"vgg": {"scale": jnp.float32(1)}}, batch)
    _, twice = step(state, {"vgg": {"scale": jnp.float32(2)}}, batch)
    np.testing.assert_allclose(twice["loss/net/scaled"], 2 * once["loss/net/scaled"], rtol=1e-6)


def test_two_objectives_of_one_player_are_refused(batch):
    task = toy.GanTask()
    transforms, _ = start(task, batch)
    with pytest.raises(ValueError, match="two active objectives"):
        make_train_step(task, transforms, (task.objectives[0], task.objectives[0]))


def test_eval_step_ignores_padding(batch):
    task = toy.L1Task()
    _, state = start(task, batch)
    variables = {"net": state.nets["net"].variables}
    step = jax.jit(lambda variables, batch: make_eval_step(task)(variables, {}, batch))
    whole = step(variables, {**batch, "mask": jnp.ones(8)})["l1"]
    mask = jnp.asarray([1.0] * 5 + [0.0] * 3)
    broken = {**batch, "x": batch["x"].at[5:].set(jnp.nan), "mask": mask}
    part = step(variables, broken)["l1"]
    rest = step(variables, {**batch, "mask": 1 - mask})["l1"]
    assert part.compute() != whole.compute()
    np.testing.assert_allclose(part.merge(rest).compute(), whole.compute(), rtol=1e-6)
