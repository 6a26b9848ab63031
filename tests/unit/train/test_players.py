"""What a step does with several players at once, parts of players, and frozen networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from talkface_jax.config import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from talkface_jax.errors import CheckpointError, ConfigError
from talkface_jax.methods.base import inputs
from talkface_jax.task import Objective
from talkface_jax.train import loop
from talkface_jax.train.checkpoint import load_params
from talkface_jax.train.gradients import cast_frozen
from talkface_jax.train.programs import Programs
from talkface_jax.train.sharding import make_mesh, put_batch
from talkface_jax.train.state import create_state, leaf_names
from talkface_jax.train.step import make_train_step

LR = 0.05


class PairTask(toy.L1Task):
    """Two players in a row on the generating path, moved by one objective."""

    name = "toy/pair"
    generators = ("net", "after")

    def __init__(self, *, players=("net", "after")):
        super().__init__()
        self.objectives = (Objective(players, (toy.Term("l1", toy.l1),)),)

    def networks(self, config):
        return {"net": toy.Generator(config.width), "after": toy.Generator(config.width)}

    def inputs_of(self, batch):
        given = inputs(batch["x"], train=False)
        return {"net": given, "after": given}

    def init(self, rng, batch):
        return super(toy.L1Task, self).init(rng, batch)

    def forward(self, variables, frozen, batch, rng, *, step, train):
        first, one = self.run("net", variables, inputs(batch["x"]), rng=rng, train=train)
        image, two = self.run("after", variables, inputs(first), rng=rng, train=train)
        return {"image": image}, one | two


class FrozenTask(toy.L1Task):
    """What the player makes goes through a pretrained network, which the task was given."""

    name = "toy/frozen"

    def frozen(self):
        rng = np.random.default_rng(5)
        return {"pretrained": {"kernel": rng.standard_normal((6, 6)).astype(np.float32)}}

    def forward(self, variables, frozen, batch, rng, *, step, train):
        outputs, stats = super().forward(variables, frozen, batch, rng, step=step, train=train)
        return {"image": jnp.tanh(outputs["image"] @ frozen["pretrained"]["kernel"])}, stats


class SetTask(toy.L1Task):
    """A loss over a set."""

    means_of_items = False


class PartTask(toy.GanTask):
    """Of the generator only the first layer is trained, of the judge nothing."""

    trained = {"net": ("Dense_0",), "disc": ()}  # noqa: RUF012


class SampledTask(toy.L1Task):
    """What it makes is scaled by how far the run is, as scheduled sampling would."""

    def forward(self, variables, frozen, batch, rng, *, step, train):
        outputs, stats = super().forward(variables, frozen, batch, rng, step=step, train=train)
        share = jnp.minimum(step, 4) / 4
        return {"image": share * outputs["image"]}, stats


class Counting(nn.Module):
    """A network with a counter among its batch statistics, and a value that is not trained."""

    @nn.compact
    def __call__(self, x):
        count = self.variable("batch_stats", "count", lambda: jnp.zeros((), jnp.int32))
        shift = self.variable("constants", "shift", lambda: jnp.full((toy.FEATURES,), 0.5))
        if self.is_mutable_collection("batch_stats"):
            count.value += 1
        return nn.Dense(toy.FEATURES)(x + shift.value)


class CountingTask(toy.GanTask):
    """Generator and judge count how often they ran."""

    def networks(self, config):
        return {"net": Counting(), "disc": Counting()}

    def init(self, rng, batch):
        return {name: net.init(rng, batch["x"]) for name, net in self.nets.items()}

    def forward(self, variables, frozen, batch, rng, *, step, train):
        image, stats = self.run("net", variables, inputs(batch["x"]))
        return {"image": image}, stats


def batch_of(seed=0):
    return {name: jnp.asarray(array) for name, array in toy.make_batch(8, seed).items()}


def moved(a, b):
    """Names of the leaves that differ."""
    before, after = leaf_names(a), leaf_names(b)
    return {name for name in before if np.any(before[name] != after[name])}


def programs_of(task, **options):
    config = ExperimentConfig(
        method="toy",
        stage=task.stage,
        task=task.config,
        data=DataConfig(batch_size=8),
        optim=options.pop("optim", OptimConfig(lr=1e-2)),
        train=TrainConfig(**{"steps": 3, "eval_every": 0, "preview_every": 0, **options}),
    )
    return Programs(task, config, make_mesh(config.mesh, devices=jax.devices()[:1])), config


def test_one_objective_moves_both_players_by_the_joint_gradient():
    task, batch = PairTask(), batch_of()
    transforms = {player: optax.sgd(LR) for player in task.nets}
    state = create_state(task, transforms, seed=1, batch=batch)
    after, metrics = jax.jit(make_train_step(task, transforms, task.objectives))(state, {}, batch)
    key, _ = jax.random.split(jax.random.fold_in(state.rng, state.step))

    def loss(params):
        variables = {
            player: {**state.nets[player].variables, "params": tree}
            for player, tree in params.items()
        }
        outputs, _ = task.forward(variables, {}, batch, key, step=0, train=True)
        return jnp.abs(outputs["image"] - batch["y"]).mean()

    params = {player: net.params for player, net in state.nets.items()}
    gradient = jax.grad(loss)(params)
    for player in task.nets:
        expected = jax.tree.map(lambda p, g: p - LR * g, params[player], gradient[player])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
            after.nets[player].params,
            expected,
        )
        norm = float(optax.tree.norm(gradient[player]))
        assert norm > 1e-3
        np.testing.assert_allclose(metrics[f"grad_norm/{player}"], norm, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/net+after/l1"], loss(params), rtol=1e-5)
    assert {"loss/net+after/total"} <= set(metrics) and "loss/net/l1" not in metrics


def test_a_player_left_out_of_the_objective_stays():
    task, batch = PairTask(players=("after",)), batch_of()
    transforms = {player: optax.sgd(LR) for player in task.nets}
    state = create_state(task, transforms, seed=1, batch=batch)
    after, _ = jax.jit(make_train_step(task, transforms, task.objectives))(state, {}, batch)
    assert not moved(state.nets["net"].params, after.nets["net"].params)
    assert moved(state.nets["after"].params, after.nets["after"].params)


def test_a_generator_and_a_judge_in_one_objective():
    """The judge's own gradient, and the generator's through it, as by jax.grad."""
    task, batch = toy.GanTask(), batch_of()
    term = toy.Term("both", toy.fool)
    task.objectives = (Objective(("net", "disc"), (term,)),)
    transforms = {player: optax.sgd(LR) for player in task.nets}
    state = create_state(task, transforms, seed=1, batch=batch)
    after, _ = jax.jit(make_train_step(task, transforms, task.objectives))(state, {}, batch)
    key, _ = jax.random.split(jax.random.fold_in(state.rng, state.step))

    def loss(params):
        net = {**state.nets["net"].variables, "params": params["net"]}
        outputs, _ = task.forward({"net": net}, {}, batch, key, step=0, train=True)
        disc = {**state.nets["disc"].variables, "params": params["disc"]}
        score, _ = task.nets["disc"].apply(disc, outputs["image"], mutable=["batch_stats"])
        return ((score - 1) ** 2).mean()

    params = {player: net.params for player, net in state.nets.items()}
    gradient = jax.grad(loss)(params)
    for player in task.nets:
        expected = jax.tree.map(lambda p, g: p - LR * g, params[player], gradient[player])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
            after.nets[player].params,
            expected,
        )
    assert moved(state.nets["disc"].stats, after.nets["disc"].stats)


def test_a_frozen_network_on_the_path_shapes_the_gradient_and_costs_no_state(tmp_path):
    task = FrozenTask()
    programs, config = programs_of(task, ema_decay=0.9)
    result = loop.train(task, config, workdir=tmp_path, source=toy.ToySource())
    assert result.step == 3
    names = leaf_names(programs.state_shapes)
    assert set(programs.state_shapes.nets) == {"net"} == set(programs.state_shapes.ema)
    assert not any("pretrained" in name for name in names)
    stored, _ = load_params(tmp_path)
    assert set(stored) == {"net"}
    # Another pretrained network, other updates; and it is not written to.
    frozen = programs.put_frozen(task.frozen())
    batch = put_batch(toy.make_batch(8, 0), programs.mesh)
    states = []
    for scale in (1.0, -1.0):
        scaled = jax.tree.map(lambda leaf, scale=scale: scale * leaf, frozen)
        state, _ = programs.step_at(0)(programs.init(), scaled, batch)
        states.append(state.nets["net"].params)
    assert moved(*states)
    np.testing.assert_array_equal(
        frozen["pretrained"]["kernel"], task.frozen()["pretrained"]["kernel"]
    )


def test_only_what_is_trained_moves_and_has_moments():
    task = PartTask()
    programs, _ = programs_of(task, ema_decay=0.5)
    state = programs.init()
    before = jax.device_get(state)
    after, metrics = programs.step_at(0)(state, {}, put_batch(toy.make_batch(8, 0), programs.mesh))
    assert moved(before.nets["net"].params, after.nets["net"].params) == {
        "Dense_0.kernel",
        "Dense_0.bias",
    }
    # BatchNorm is none of the trained paths: its running statistics stay with it.
    assert not moved(before.nets["net"].stats, after.nets["net"].stats)
    for part in ("params", "stats"):
        old, new = (getattr(item.nets["disc"], part) for item in (before, after))
        assert not moved(old, new)
    shapes = [leaf.shape for leaf in jax.tree.leaves(before.nets["net"].opt_state) if leaf.ndim]
    assert sorted(shapes) == sorted(2 * [(6, 8), (8,)])
    assert not [leaf for leaf in jax.tree.leaves(before.nets["disc"].opt_state) if leaf.ndim]
    assert set(before.ema) == {"net"}
    assert float(metrics["grad_norm/net"]) > 0 and float(metrics["grad_norm/disc"]) == 0


def test_the_config_trains_a_part_too_and_counts_its_gradient_only():
    task = toy.L1Task()
    whole, _ = programs_of(task)
    part, _ = programs_of(task, optim=OptimConfig(lr=1e-2, only=("Dense_1",)))
    batch = put_batch(toy.make_batch(8, 0), whole.mesh)
    state = part.init()
    before = jax.device_get(state)
    after, metrics = part.step_at(0)(state, {}, batch)
    assert moved(before.nets["net"].params, after.nets["net"].params) == {
        "Dense_1.kernel",
        "Dense_1.bias",
    }
    _, all_metrics = whole.step_at(0)(whole.init(), {}, batch)
    assert 0 < float(metrics["grad_norm/net"]) < float(all_metrics["grad_norm/net"])
    np.testing.assert_allclose(metrics["loss/net/l1"], all_metrics["loss/net/l1"], rtol=1e-6)


def test_losses_over_sets_are_not_accumulated():
    words = r"accumulate is 4, but the losses of toy/l1 compare sets .*; set it to 1"
    with pytest.raises(ConfigError, match=words):
        programs_of(SetTask(), accumulate=4)
    programs_of(SetTask(), accumulate=1)
    programs_of(toy.L1Task(), accumulate=4)


def test_the_path_knows_the_step():
    programs, _ = programs_of(SampledTask())
    batch = put_batch(toy.make_batch(8, 0), programs.mesh)
    state, losses = programs.init(), []
    for step in range(2):
        state, metrics = programs.step_at(step)(state, {}, batch)
        losses.append(float(metrics["loss/net/l1"]))
    # At the first step nothing is made yet, so the loss is that of zeros.
    np.testing.assert_allclose(losses[0], np.abs(batch["y"]).mean(), rtol=1e-5)
    assert abs(losses[1] - losses[0]) > 1e-3
    # An evaluation is that of a run that has ended.
    variables = {"net": state.nets["net"].variables}
    rows = {**batch, "mask": jnp.ones(8)}
    seen = programs.evaluate(variables, {}, rows)["l1"].compute()
    whole, _ = programs_of(toy.L1Task())
    np.testing.assert_allclose(seen, whole.evaluate(variables, {}, rows)["l1"].compute(), rtol=1e-6)


def test_judges_have_constants_and_counters_are_not_averaged(tmp_path):
    task = CountingTask()
    programs, config = programs_of(task, ema_decay=0.5)
    loop.train(task, config, workdir=tmp_path, source=toy.ToySource())
    # Resumed and finished: an average of another type would be called damaged.
    assert loop.train(task, config, workdir=tmp_path, source=toy.ToySource()).step == 3
    stored, _ = load_params(tmp_path)
    # Once when it was drawn, and once a step.
    assert stored["net"]["batch_stats"]["count"] == 4
    assert stored["net"]["batch_stats"]["count"].dtype == np.int32
    # Twice a step, in its own objective; that it was fooled is none of its updates.
    assert stored["disc"]["batch_stats"]["count"] == 7
    np.testing.assert_array_equal(stored["disc"]["constants"]["shift"], 0.5)
    assert programs.state_shapes.ema["net"].stats["count"].dtype == np.int32


def test_statistics_go_with_the_parameters_of_their_module():
    only = ("*/kernel", "*/scale")
    programs, _ = programs_of(toy.L1Task(), optim=OptimConfig(lr=1e-2, only=only))
    state = programs.init()
    before = jax.device_get(state)
    after, _ = programs.step_at(0)(state, {}, put_batch(toy.make_batch(8, 0), programs.mesh))
    assert moved(before.nets["net"].stats, after.nets["net"].stats) == {
        "BatchNorm_0.mean",
        "BatchNorm_0.var",
    }
    assert "BatchNorm_0.bias" not in moved(before.nets["net"].params, after.nets["net"].params)


@pytest.mark.parametrize(
    ("trained", "error", "words"),
    [
        ({"net": ("decodr",)}, ConfigError, "'decodr', which matches no parameter"),
        ({"net": "Dense_0"}, ValueError, "trained has 'net': 'Dense_0'"),
        ({"nte": ()}, ValueError, "trained has 'nte'"),
    ],
)
def test_what_a_task_trains_must_exist(trained, error, words):
    task = toy.L1Task()
    task.trained = trained
    with pytest.raises(error, match=words):
        programs_of(task)


def test_another_frozen_network_is_not_gone_on_with(tmp_path):
    task = FrozenTask()
    _, config = programs_of(task, steps=2)
    loop.train(task, config, workdir=tmp_path, source=toy.ToySource())
    _, longer = programs_of(task, steps=3)
    other = FrozenTask()
    kernel = 2 * task.frozen()["pretrained"]["kernel"]
    other.frozen = lambda: {"pretrained": {"kernel": kernel}}
    with pytest.raises(CheckpointError, match="trained with another frozen network 'pretrained'"):
        loop.train(other, longer, workdir=tmp_path, source=toy.ToySource())
    assert loop.train(task, longer, workdir=tmp_path, source=toy.ToySource()).step == 3


def test_frozen_statistics_stay_float32_where_the_arithmetic_is_short():
    tree = {"params": {"kernel": jnp.ones(3)}, "batch_stats": {"mean": jnp.ones(3)}}
    made = cast_frozen({"whole": tree, "bare": {"kernel": jnp.ones(3)}}, "bfloat16")
    kinds = jax.tree.map(lambda leaf: leaf.dtype.name, made)
    assert kinds == {
        "whole": {"params": {"kernel": "bfloat16"}, "batch_stats": {"mean": "float32"}},
        "bare": {"kernel": "bfloat16"},
    }


def test_a_player_of_the_config_must_exist():
    task = toy.L1Task()
    config = ExperimentConfig(
        "toy", "l1", task.config, players={"nte": OptimConfig()}, data=DataConfig(batch_size=8)
    )
    with pytest.raises(ConfigError, match=r"config\.players\.nte is of no player of toy/l1; use"):
        Programs(task, config, make_mesh(config.mesh, devices=jax.devices()[:1]))
