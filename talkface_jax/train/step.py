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
    LAST,
    Averages,
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
    cast_frozen,
    differentiate,
    run_forward,
)

Metrics = dict[str, jax.Array]
Nets = Mapping[str, Net]
Step = Callable[[TrainState, Mapping[str, PyTree], Batch], tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class Mask:
    """What of a player is trained.

    Attributes:
      params: parameters -> bools.
      stats: (batch statistics, parameters) -> bools for the former.
    """

    params: Callable[[PyTree], PyTree]
    stats: Callable[[PyTree, PyTree], PyTree]


def make_train_step(
    task: Task,
    transforms: Mapping[str, optax.GradientTransformation],
    active: Sequence[Objective],
    *,
    ema_decay: float = 0.0,
    policy: Policy = PLAIN,
    masks: Mapping[str, Mask] | None = None,
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
      ema_decay: decay of the averages in `TrainState.ema`.
      policy: number format, rematerialisation and accumulation.
      masks: by player what of it is trained; one that is left out is trained whole.

    Returns:
      `step(state, frozen, batch) -> (state, metrics)`, to be jitted. Metrics are float32 scalars:
      `loss/<players>/<term>` unweighted, `loss/<players>/total` weighted, `grad_norm/<player>`,
      and, for an objective with `every` > 1, `update/<players>`: 0 in the steps that skip it (its
      other values are 0 then). <players> is `Objective.name`.

    Raises:
      ValueError: two active objectives of one player, or one of an unknown player; accumulation
        with an alternating objective, which would need its whole batch a second time, or of losses
        over sets.
    """
    _check(task, transforms, active, policy)

    def step(
        state: TrainState, frozen: Mapping[str, PyTree], batch: Batch
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.rng, state.step)
        update = _update_at_once if policy.accumulate == 1 else _update_in_parts
        nets, metrics = update(
            _Setting(task, transforms, tuple(active), policy, dict(masks or {})),
            dict(state.nets),
            cast_frozen(frozen, policy.compute),
            batch,
            state.step,
            key,
        )
        ema = {
            player: _averaged(average, nets[player], 1.0 - ema_decay)
            for player, average in state.ema.items()
        }
        return state.replace(step=state.step + 1, nets=nets, ema=ema), metrics

    return step


def _averaged(average: Averages, net: Net, share: float) -> Averages:
    """Averages that are moved by a share of the way to the net; what counts is taken as it is."""

    def moved(new: jax.Array, old: jax.Array) -> Any:
        if not jnp.issubdtype(new.dtype, jnp.inexact):
            return jnp.copy(new)
        return optax.incremental_update(new, old, share)

    return Averages(
        params=jax.tree.map(moved, net.params, average.params),
        stats=jax.tree.map(moved, net.stats, average.stats),
    )


@dataclasses.dataclass(frozen=True)
class _Setting:
    """What is fixed for all steps."""

    task: Task
    transforms: Mapping[str, optax.GradientTransformation]
    active: tuple[Objective, ...]
    policy: Policy
    masks: Mapping[str, Mask]

    def scene(
        self, nets: Mapping[str, Net], frozen: PyTree, batch: Batch, step: jax.Array, key: jax.Array
    ) -> Scene:
        """The shared forward of one batch."""
        forward_key, judge_key = jax.random.split(key)
        forward = run_forward(self.task, nets, frozen, batch, forward_key, self.policy, step=step)
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
    nets = _with_stats(setting, before, scene.forward.stats)
    metrics: Metrics = {}
    for objective in setting.active:
        seen = before if objective.update is Update.SIMULTANEOUS else nets
        run = functools.partial(_run_at_once, setting, scene, objective, dict(seen))
        metrics |= _when_due(objective, step, run, nets)
    return nets, metrics


def _run_at_once(
    setting: _Setting, scene: Scene, objective: Objective, seen: dict[str, Net], own: Nets
) -> tuple[Nets, Metrics]:
    return _apply(setting, objective, own, differentiate(scene, objective, own, seen))


def _run_on_averages(
    setting: _Setting, objective: Objective, averages: Any, stats: Mapping[str, PyTree], own: Nets
) -> tuple[Nets, Metrics]:
    total, terms, gradients = averages
    return _apply(setting, objective, own, ((total, (terms, stats)), gradients))


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
        nets = _with_stats(setting, before, stats)
        scene = setting.scene(nets, frozen, rows, step, jax.random.fold_in(key, index))
        after = _with_stats(setting, nets, scene.forward.stats)
        results = {}
        for objective in setting.active:
            own = {player: after[player] for player in objective.players}
            (total, (terms, stats_after)), gradients = differentiate(scene, objective, own, nets)
            after = _with_stats(setting, after, stats_after)
            results[objective.name] = (total, terms, gradients)
        return {player: net.stats for player, net in after.items()}, results

    stats = {player: net.stats for player, net in before.items()}
    stats, results = jax.lax.scan(gradients, stats, (jnp.arange(parts), _split(batch, parts)))
    # A judge keeps its statistics in the steps that skip it; a generator has run all the same.
    generated = {player: stats[player] for player in setting.task.generators}
    nets = _with_stats(setting, before, generated)
    metrics: Metrics = {}
    for objective in setting.active:
        averages = jax.tree.map(lambda leaf: leaf.mean(0), results[objective.name])
        own = {player: stats[player] for player in objective.players}
        run = functools.partial(_run_on_averages, setting, objective, averages, own)
        metrics |= _when_due(objective, step, run, nets)
    return nets, metrics


def _split(batch: Batch, parts: int) -> dict[str, jax.Array]:
    """(b, …) -> (parts, b / parts, …); each part takes rows of every device."""
    return {
        name: jnp.moveaxis(leaf.reshape(-1, parts, *leaf.shape[1:]), 1, 0)
        for name, leaf in batch.items()
    }


def _with_stats(setting: _Setting, nets: Nets, stats: Mapping[str, PyTree]) -> dict[str, Net]:
    """The nets with new batch statistics, where these are trained."""
    found = dict(nets)
    for player, new in stats.items():
        old = nets[player].stats
        mask = setting.masks.get(player)
        if mask is not None:
            kept = mask.stats(old, nets[player].params)
            new = jax.tree.map(lambda on, a, b: a if on else b, kept, new, old)
        found[player] = nets[player].replace(stats=new)
    return found


Forward = Callable[[Mapping[str, Variables], Mapping[str, PyTree], Batch], Outputs]


def make_eval_step(task: Task) -> Callable[..., dict[str, Any]]:
    """`eval_step(variables, frozen, batch) -> mergeable metrics`, to be jitted."""
    forward = make_forward(task)

    def eval_step(
        variables: Mapping[str, Variables], frozen: Mapping[str, PyTree], batch: Batch
    ) -> dict[str, Any]:
        return task.metrics(forward(variables, frozen, batch), batch, frozen)

    return eval_step


def make_forward(task: Task) -> Forward:
    """`forward(variables, frozen, batch) -> outputs` as at inference: no dropout, running
    statistics."""

    def forward(
        variables: Mapping[str, Variables], frozen: Mapping[str, PyTree], batch: Batch
    ) -> Outputs:
        key, step = jax.random.key(0), jnp.int32(LAST)
        outputs, _ = task.forward(variables, frozen, batch, key, step=step, train=False)
        return outputs

    return forward


def _check(
    task: Task, transforms: Mapping[str, Any], active: Sequence[Objective], policy: Policy
) -> None:
    players = [player for objective in active for player in objective.players]
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
    if policy.accumulate > 1 and not task.means_of_items:
        raise ValueError("accumulation does not go with losses over sets")


def _apply(setting: _Setting, objective: Objective, own: Nets, result: Any) -> tuple[Nets, Metrics]:
    """The update of an objective's players, and what is logged of it."""
    (total, (terms, stats)), gradients = result
    logged = {f"loss/{objective.name}/{name}": value for name, value in terms.items()}
    logged[f"loss/{objective.name}/total"] = total
    after = _with_stats(setting, own, stats)
    for player, net in after.items():
        gradient, mask = gradients[player], setting.masks.get(player)
        if mask is not None:
            # Nothing reads the others: the compiler leaves them out.
            gradient = jax.tree.map(
                lambda on, leaf: leaf if on else jnp.zeros_like(leaf),
                mask.params(gradient),
                gradient,
            )
        updates, opt_state = setting.transforms[player].update(gradient, net.opt_state, net.params)
        params = optax.apply_updates(net.params, updates)
        logged[f"grad_norm/{player}"] = optax.tree.norm(gradient).astype(jnp.float32)
        after[player] = net.replace(params=params, opt_state=opt_state)
    return after, logged


def _when_due(
    objective: Objective,
    step: jax.Array,
    run: Callable[[Nets], tuple[Nets, Metrics]],
    nets: dict[str, Net],
) -> Metrics:
    """Puts what `run` makes of the objective's players into `nets`, but for the steps that the
    objective skips."""
    own = {player: nets[player] for player in objective.players}
    if objective.every == 1:
        updated, logged = run(own)
        nets.update(updated)
        return logged
    due = (step - objective.start) % objective.every == 0
    _, shapes = jax.eval_shape(run, own)

    def skip(own: Nets) -> tuple[Nets, Metrics]:
        return own, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    updated, logged = jax.lax.cond(due, run, skip, own)
    nets.update(updated)
    return {**logged, f"update/{objective.name}": due.astype(jnp.float32)}
