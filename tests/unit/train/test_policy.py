"""Number format, rematerialisation and accumulation change how a step is computed, not what."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax.task import Update
from talkface_jax.train.gradients import Policy, run_forward
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_train_step

LR = 0.05


@pytest.fixture(scope="module")
def batch():
    return {name: jnp.asarray(array) for name, array in toy.make_batch(8, 0).items()}


def start(task, batch):
    transforms = {player: optax.sgd(LR) for player in task.nets}
    return transforms, create_state(task, transforms, seed=1, batch=batch, ema_players=())


def run(task, batch, policy, steps=1):
    transforms, state = start(task, batch)
    step = jax.jit(make_train_step(task, transforms, task.objectives, policy=policy))
    for _ in range(steps):
        state, metrics = step(state, {}, batch)
    return state, metrics


def assert_close(a, b, *, rtol=0.0, atol=0.0):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def moved(a, b):
    return any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


class Bare(nn.Module):
    """A generator whose items do not see each other, without chance."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(toy.FEATURES)(jnp.tanh(nn.Dense(8)(x)))


class BareJudge(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.leaky_relu(nn.Dense(8)(x), 0.2))


class BareTask(toy.GanTask):
    """The toy GAN without BatchNorm and dropout."""

    def networks(self, config):
        return {"net": Bare(), "disc": BareJudge()}

    def init(self, rng, batch):
        return {name: net.init(rng, batch["x"]) for name, net in self.nets.items()}

    def forward(self, variables, frozen, batch, rng, *, step, train):
        return {"image": self.nets["net"].apply(variables["net"], batch["x"])}, {}


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulated_gan_update_is_that_of_the_whole_batch(batch, parts):
    whole, logged = run(BareTask(), batch, Policy(), steps=3)
    ours, metrics = run(BareTask(), batch, Policy(accumulate=parts), steps=3)
    assert moved(whole.nets, start(BareTask(), batch)[1].nets)
    assert_close(ours.nets, whole.nets, atol=1e-6)
    assert set(metrics) == set(logged) >= {"loss/net/fool", "loss/disc/judge", "grad_norm/disc"}
    assert_close(metrics, logged, rtol=1e-5)
    assert int(ours.step) == 3


def test_statistics_pass_from_part_to_part(batch):
    """Part i is the rows i, i + parts, …; each updates the running statistics once."""
    task, parts = toy.GanTask(), 4
    _, state = start(task, batch)
    after, _ = run(task, batch, Policy(accumulate=parts))
    net, disc = (state.nets[player] for player in ("net", "disc"))
    mean, var = np.zeros(8), np.ones(8)
    judge, key = disc.stats, jax.random.fold_in(state.rng, state.step)
    for part in range(parts):
        rows = {name: leaf[part::parts] for name, leaf in batch.items()}
        layer = jax.device_get(net.params["Dense_0"])
        hidden = np.asarray(rows["x"]) @ layer["kernel"] + layer["bias"]
        mean, var = 0.9 * mean + 0.1 * hidden.mean(0), 0.9 * var + 0.1 * hidden.var(0)
        forward_key, _ = jax.random.split(jax.random.fold_in(key, part))
        outputs, _ = task.forward({"net": net.variables}, {}, rows, forward_key, step=0, train=True)
        for seen in (rows["y"], outputs["image"]):
            _, new = task.nets["disc"].apply(
                {"params": disc.params, "batch_stats": judge}, seen, mutable=["batch_stats"]
            )
            judge = new["batch_stats"]
    found = after.nets["net"].stats["BatchNorm_0"]
    assert_close(found, {"mean": mean, "var": var}, atol=1e-6)
    assert_close(after.nets["disc"].stats, judge, atol=1e-6)


def test_accumulation_skips_the_steps_of_a_rarer_objective(batch):
    task = toy.GanTask(every=2)
    transforms, state = start(task, batch)
    step = jax.jit(make_train_step(task, transforms, task.objectives, policy=Policy(accumulate=2)))
    states, due = [state], []
    for _ in range(4):
        state, metrics = step(state, {}, batch)
        states.append(state)
        due.append(bool(metrics["update/disc"]))
        assert (float(metrics["loss/disc/judge"]) > 0) == due[-1]
    assert due == [True, False, True, False]
    for field, player, expected in (
        ("params", "disc", due),
        ("stats", "disc", due),
        ("params", "net", [True] * 4),
        ("stats", "net", [True] * 4),
    ):
        pairs = itertools.pairwise(getattr(state.nets[player], field) for state in states)
        assert [moved(a, b) for a, b in pairs] == expected, (field, player)


def test_accumulation_of_an_alternating_objective_is_refused(batch):
    task = toy.GanTask(update=Update.ALTERNATING)
    transforms, _ = start(task, batch)
    make_train_step(task, transforms, task.objectives)
    with pytest.raises(ValueError, match="alternating"):
        make_train_step(task, transforms, task.objectives, policy=Policy(accumulate=2))


@pytest.mark.parametrize("remat", ["products", "everything"])
def test_remat_computes_the_same(batch, remat):
    """Dropout masks too, which are drawn a second time, and statistics, which move once."""
    task = toy.GanTask()
    plain, logged = run(task, batch, Policy(), steps=2)
    ours, metrics = run(task, batch, Policy(remat=remat), steps=2)
    assert_close(metrics, logged, rtol=1e-5)
    assert_close(ours.nets, plain.nets, rtol=1e-5, atol=1e-7)


def residuals(task, nets, batch, policy):
    """Shapes of what the backward pass of the generating path keeps."""

    def pull(params):
        changed = {**nets, "net": nets["net"].replace(params=params)}
        return run_forward(task, changed, {}, batch, jax.random.key(0), policy, step=0).pull

    return jax.tree.leaves(jax.eval_shape(pull, nets["net"].params))


def test_remat_keeps_less(batch):
    task = toy.GanTask(toy.ToyConfig(width=64))
    _, state = start(task, batch)
    kept = {
        remat: residuals(task, state.nets, batch, Policy(remat=remat))
        for remat in ("none", "products", "everything")
    }
    sizes = {
        remat: sum(leaf.size * leaf.dtype.itemsize for leaf in leaves if leaf.dtype == jnp.float32)
        for remat, leaves in kept.items()
    }
    assert sizes["none"] > sizes["products"] > sizes["everything"]
    # Of the hidden layer: nearly every step; the matrix product; nothing.
    hidden = {
        remat: sum(leaf.shape == (8, 64) for leaf in leaves) for remat, leaves in kept.items()
    }
    assert hidden["none"] > 3 and hidden["products"] == 1 and hidden["everything"] == 0
