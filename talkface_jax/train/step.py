"""One training step for any number of players: a stage with a single L1 term is the same code as a
GAN (`gradients`)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from talkface_jax.task import (
    Batch,
    Net,
    Objective,
    Outputs,
    PyTree,
    Task,
    TrainState,
    Update,
    Variables,
)
from talkface_jax.train.gradients import (
    PLAIN,
    Policy,
    Scene,
    cast_params,
    differentiate,
    run_forward,
)

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Mapping[str, PyTree], Batch], tuple[TrainState, Metrics]]


def make_train_step(
    task: Task,
    transforms: Mapping[str, optax.GradientTransformation],
    active: Sequence[Objective],
    *,
    ema_decay: float = 0.0,
    policy: Policy = PLAIN,
) -> Step:
    """The update of all players whose objectives are active.

    `context.outputs` are always those of the one shared forward, so of the parameters before the
    step; `Update.ALTERNATING` lets an objective see judging players as updated by the objectives
    before it. `context.apply` holds the judging players; their batch statistics change in their own
    objective only.

    Args:
      task: the stage.
      transforms: optimiser by player.
      active: objectives in force, in the order of updates, at most one for each player.
      ema_decay: decay of the averaged parameters in `TrainState.ema`.
      policy: number format, rematerialisation and accumulation.

    Returns:
      `step(state, frozen, batch) -> (state, metrics)`, to be jitted. Metrics are float32 scalars:
      `loss/<player>/<term>` unweighted, `loss/<player>/total` weighted, `grad_norm/<player>`, and,
      for an objective with `every` > 1, `update/<player>`: 0 in the steps that skip it (its other
      values are 0 then).

    Raises:
      ValueError: two active objectives of one player, or one of an unknown player; accumulation
        with an alternating objective, which would need its whole batch a second time.
    """
    _check(task, transforms, active, policy)

    def step(
        state: TrainState, frozen: Mapping[str, PyTree], batch: Batch
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.rng, state.step)
        update = _update_at_once if policy.accumulate == 1 else _update_in_parts
        nets, metrics = update(
            _Setting(task, transforms, tuple(active), policy),
            dict(state.nets),
            cast_params(frozen, policy.compute),
            batch,
            state.step,
            key,
        )
        ema = {
            player: optax.incremental_update(nets[player].params, average, 1.0 - ema_decay)
            for player, average in state.ema.items()
        }
        return state.replace(step=state.step + 1, nets=nets, ema=ema), metrics

    return step


@dataclasses.dataclass(frozen=True)
class _Setting:
    """What is fixed for all steps."""

    task: Task
    transforms: Mapping[str, optax.GradientTransformation]
    active: tuple[Objective, ...]
    policy: Policy

    def scene(
        self, nets: Mapping[str, Net], frozen: PyTree, batch: Batch, step: jax.Array, key: jax.Array
    ) -> Scene:
        """The shared forward of one batch."""
        forward_key, judge_key = jax.random.split(key)
        forward = run_forward(self.task, nets, batch, forward_key, self.policy)
        return Scene(self.task, batch, frozen, step, judge_key, forward, self.policy)


def _update_at_once(
    setting: _Setting,
    before: dict[str, Net],
    frozen: PyTree,
    batch: Batch,
    step: jax.Array,
    key: jax.Array,
) -> tuple[dict[str, Net], Metrics]:
    """All objectives on the whole batch."""
    scene = setting.scene(before, frozen, batch, step, key)
    nets = _with_stats(before, scene.forward.stats)
    metrics: Metrics = {}
    for objective in setting.active:
        seen = before if objective.update is Update.SIMULTANEOUS else nets
        player = objective.player
        run = functools.partial(_run_at_once, setting, scene, objective, dict(seen))
        nets[player], logged = _when_due(objective, step, run, nets[player])
        metrics |= logged
    return nets, metrics


def _run_at_once(
    setting: _Setting, scene: Scene, objective: Objective, seen: dict[str, Net], net: Net
) -> tuple[Net, Metrics]:
    return _apply(setting, objective, net, differentiate(scene, objective, net, seen))


def _run_on_averages(
    setting: _Setting, objective: Objective, averages: Any, stats: PyTree, net: Net
) -> tuple[Net, Metrics]:
    total, terms, gradient = averages
    return _apply(setting, objective, net, ((total, (terms, stats)), gradient))


def _update_in_parts(
    setting: _Setting,
    before: dict[str, Net],
    frozen: PyTree,
    batch: Batch,
    step: jax.Array,
    key: jax.Array,
) -> tuple[dict[str, Net], Metrics]:
    """The same with gradients averaged over parts of the batch; statistics pass from part to
    part."""
    parts = setting.policy.accumulate

    def gradients(stats: dict[str, PyTree], part: tuple[jax.Array, Batch]) -> tuple[Any, Any]:
        index, rows = part
        nets = _with_stats(before, stats)
        scene = setting.scene(nets, frozen, rows, step, jax.random.fold_in(key, index))
        after = _with_stats(nets, scene.forward.stats)
        results = {}
        for objective in setting.active:
            player = objective.player
            (total, (terms, stats_after)), gradient = differentiate(
                scene, objective, after[player], nets
            )
            after[player] = after[player].replace(stats=stats_after)
            results[player] = (total, terms, gradient)
        return {player: net.stats for player, net in after.items()}, results

    stats = {player: net.stats for player, net in before.items()}
    stats, results = jax.lax.scan(gradients, stats, (jnp.arange(parts), _split(batch, parts)))
    # A judge keeps its statistics in the steps that skip it; a generator has run all the same.
    generated = {player: stats[player] for player in setting.task.generators}
    nets, metrics = _with_stats(before, generated), {}
    for objective in setting.active:
        player = objective.player
        averages = jax.tree.map(lambda leaf: leaf.mean(0), results[player])
        run = functools.partial(_run_on_averages, setting, objective, averages, stats[player])
        nets[player], logged = _when_due(objective, step, run, nets[player])
        metrics |= logged
    return nets, metrics


def _split(batch: Batch, parts: int) -> dict[str, jax.Array]:
    """(b, …) -> (parts, b / parts, …); each part takes rows of every device."""
    return {
        name: jnp.moveaxis(leaf.reshape(-1, parts, *leaf.shape[1:]), 1, 0)
        for name, leaf in batch.items()
    }


def _with_stats(nets: Mapping[str, Net], stats: Mapping[str, PyTree]) -> dict[str, Net]:
    return {player: net.replace(stats=stats.get(player, net.stats)) for player, net in nets.items()}


def make_eval_step(task: Task) -> Callable[[Mapping[str, Variables], Batch], dict[str, Any]]:
    """`eval_step(variables, batch) -> mergeable metrics`, to be jitted."""
    forward = make_forward(task)

    def eval_step(variables: Mapping[str, Variables], batch: Batch) -> dict[str, Any]:
        return task.metrics(forward(variables, batch), batch)

    return eval_step


def make_forward(task: Task) -> Callable[[Mapping[str, Variables], Batch], Outputs]:
    """`forward(variables, batch) -> outputs` as at inference: no dropout, running statistics."""

    def forward(variables: Mapping[str, Variables], batch: Batch) -> Outputs:
        outputs, _ = task.forward(variables, batch, jax.random.key(0), train=False)
        return outputs

    return forward


def _check(
    task: Task, transforms: Mapping[str, Any], active: Sequence[Objective], policy: Policy
) -> None:
    players = [objective.player for objective in active]
    if len(set(players)) != len(players):
        raise ValueError(f"a player has two active objectives at once: {players}")
    unknown = [player for player in players if player not in task.nets or player not in transforms]
    if unknown:
        raise ValueError(f"objectives of players without a network or optimiser: {unknown}")
    if any(objective.every < 1 for objective in active):
        raise ValueError("Objective.every must be at least 1")
    alternating = any(objective.update is Update.ALTERNATING for objective in active)
    if policy.accumulate > 1 and alternating:
        raise ValueError("accumulation does not go with an alternating objective")


def _apply(setting: _Setting, objective: Objective, net: Net, result: Any) -> tuple[Net, Metrics]:
    """One player's update and what is logged of it."""
    (total, (terms, stats)), gradient = result
    player = objective.player
    updates, opt_state = setting.transforms[player].update(gradient, net.opt_state, net.params)
    params = optax.apply_updates(net.params, updates)
    logged = {f"loss/{player}/{name}": value for name, value in terms.items()}
    logged[f"loss/{player}/total"] = total
    logged[f"grad_norm/{player}"] = optax.tree.norm(gradient).astype(jnp.float32)
    return Net(params=params, stats=stats, opt_state=opt_state), logged


def _when_due(
    objective: Objective, step: jax.Array, run: Callable[[Net], tuple[Net, Metrics]], net: Net
) -> tuple[Net, Metrics]:
    """`run(net)`, or the net as it is in the steps that the objective skips."""
    if objective.every == 1:
        return run(net)
    due = (step - objective.start) % objective.every == 0
    _, shapes = jax.eval_shape(run, net)

    def skip(net: Net) -> tuple[Net, Metrics]:
        return net, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    updated, logged = jax.lax.cond(due, run, skip, net)
    return updated, {**logged, f"update/{objective.player}": due.astype(jnp.float32)}
