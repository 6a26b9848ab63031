"""One training step for any number of players.

The generating path runs once, by `jax.vjp`. A generating player's objective is a function of its
outputs; its cotangent is pulled back through that one forward. A judging player's objective is a
function of its own parameters, with the outputs held fixed. So neither ever receives the other's
gradients, and a stage with a single L1 term is the same code as a GAN.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from talkface_jax.task import (
    Batch,
    LossContext,
    Net,
    Objective,
    Outputs,
    PyTree,
    Task,
    TrainState,
    Update,
    Variables,
)

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Mapping[str, PyTree], Batch], tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class _Forward:
    """The shared forward. `smooth` outputs carry gradients, `discrete` ones (integers) cannot."""

    smooth: Outputs
    discrete: Outputs
    stats: Mapping[str, PyTree]
    pull: Callable[[Outputs], tuple[dict[str, PyTree]]]


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What all objectives of one step share."""

    task: Task
    batch: Batch
    frozen: Mapping[str, PyTree]
    step: jax.Array
    key: jax.Array
    forward: _Forward


def make_train_step(
    task: Task,
    transforms: Mapping[str, optax.GradientTransformation],
    active: Sequence[Objective],
    *,
    ema_decay: float = 0.0,
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

    Returns:
      `step(state, frozen, batch) -> (state, metrics)`, to be jitted. Metrics are float32 scalars:
      `loss/<player>/<term>` unweighted, `loss/<player>/total` weighted, `grad_norm/<player>`, and,
      for an objective with `every` > 1, `update/<player>`: 0 in the steps that skip it (its other
      values are 0 then).

    Raises:
      ValueError: two active objectives of one player, or one of an unknown player.
    """
    _check(task, transforms, active)

    def step(
        state: TrainState, frozen: Mapping[str, PyTree], batch: Batch
    ) -> tuple[TrainState, Metrics]:
        forward_key, judge_key = jax.random.split(jax.random.fold_in(state.rng, state.step))
        forward = _run_forward(task, state.nets, batch, forward_key)
        scene = _Scene(task, batch, frozen, state.step, judge_key, forward)
        before = dict(state.nets)
        nets = {
            player: net.replace(stats=forward.stats.get(player, net.stats))
            for player, net in before.items()
        }
        metrics: Metrics = {}
        for objective in active:
            seen = before if objective.update is Update.SIMULTANEOUS else nets
            net, logged = _update(
                scene, objective, nets[objective.player], dict(seen), transforms[objective.player]
            )
            nets[objective.player] = net
            metrics |= logged
        ema = {
            player: optax.incremental_update(nets[player].params, average, 1.0 - ema_decay)
            for player, average in state.ema.items()
        }
        return state.replace(step=state.step + 1, nets=nets, ema=ema), metrics

    return step


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


def _check(task: Task, transforms: Mapping[str, Any], active: Sequence[Objective]) -> None:
    players = [objective.player for objective in active]
    if len(set(players)) != len(players):
        raise ValueError(f"a player has two active objectives at once: {players}")
    unknown = [player for player in players if player not in task.nets or player not in transforms]
    if unknown:
        raise ValueError(f"objectives of players without a network or optimiser: {unknown}")
    if any(objective.every < 1 for objective in active):
        raise ValueError("Objective.every must be at least 1")


def _run_forward(task: Task, nets: Mapping[str, Net], batch: Batch, key: jax.Array) -> _Forward:
    """Runs the generating path once and keeps its pull-back."""

    def path(params: Mapping[str, PyTree]) -> tuple[Outputs, tuple[Outputs, Mapping[str, PyTree]]]:
        variables = {
            player: {**net.variables, **({"params": params[player]} if player in params else {})}
            for player, net in nets.items()
        }
        outputs, stats = task.forward(variables, batch, key, train=True)
        smooth = {name: item for name, item in outputs.items() if _is_smooth(item)}
        discrete = {name: item for name, item in outputs.items() if name not in smooth}
        return smooth, (discrete, stats)

    params = {player: nets[player].params for player in task.generators}
    smooth, pull, (discrete, stats) = jax.vjp(path, params, has_aux=True)
    return _Forward(smooth, discrete, stats, pull)


def _is_smooth(item: PyTree) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(item))


def _update(
    scene: _Scene,
    objective: Objective,
    net: Net,
    seen: dict[str, Net],
    transform: optax.GradientTransformation,
) -> tuple[Net, Metrics]:
    """One player's update and what is logged of it."""
    player = objective.player
    generating = player in scene.task.generators
    differentiate = _generator_gradient if generating else _judge_gradient

    def run(net: Net) -> tuple[Net, Metrics]:
        (total, (terms, stats)), gradient = differentiate(scene, objective, net, seen)
        updates, opt_state = transform.update(gradient, net.opt_state, net.params)
        params = optax.apply_updates(net.params, updates)
        logged = {f"loss/{player}/{name}": value for name, value in terms.items()}
        logged[f"loss/{player}/total"] = total
        logged[f"grad_norm/{player}"] = optax.tree.norm(gradient).astype(jnp.float32)
        return Net(params=params, stats=stats, opt_state=opt_state), logged

    if objective.every == 1:
        return run(net)
    due = (scene.step - objective.start) % objective.every == 0
    _, shapes = jax.eval_shape(run, net)

    def skip(net: Net) -> tuple[Net, Metrics]:
        return net, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    updated, logged = jax.lax.cond(due, run, skip, net)
    return updated, {**logged, f"update/{player}": due.astype(jnp.float32)}


def _generator_gradient(scene: _Scene, objective: Objective, net: Net, seen: dict[str, Net]) -> Any:
    """((total, (terms, stats)), gradient) of a player on the generating path."""

    def loss(smooth: Outputs) -> tuple[jax.Array, dict[str, jax.Array]]:
        judges, _ = _bind_judges(scene.task, seen, scene.key)
        return _weigh(scene, objective, {**smooth, **scene.forward.discrete}, judges)

    (total, terms), cotangent = jax.value_and_grad(loss, has_aux=True)(scene.forward.smooth)
    (gradients,) = scene.forward.pull(cotangent)
    return (total, (terms, net.stats)), gradients[objective.player]


def _judge_gradient(scene: _Scene, objective: Objective, net: Net, seen: dict[str, Net]) -> Any:
    """((total, (terms, stats)), gradient) of a player that judges fixed outputs."""
    outputs = jax.lax.stop_gradient({**scene.forward.smooth, **scene.forward.discrete})

    def loss(params: PyTree) -> tuple[jax.Array, Any]:
        own = {objective.player: net.replace(params=params)}
        judges, stats = _bind_judges(scene.task, {**seen, **own}, scene.key)
        total, terms = _weigh(scene, objective, outputs, judges)
        return total, (terms, stats[objective.player])

    return jax.value_and_grad(loss, has_aux=True)(net.params)


def _weigh(
    scene: _Scene, objective: Objective, outputs: Outputs, judges: Mapping[str, Callable[..., Any]]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted total and the unweighted terms, float32."""
    context = LossContext(
        outputs=outputs, batch=scene.batch, apply=judges, frozen=scene.frozen, step=scene.step
    )
    total = jnp.zeros((), jnp.float32)
    terms: dict[str, jax.Array] = {}
    for term in objective.terms:
        value = jnp.asarray(term(context), jnp.float32)
        terms[term.name] = value
        total = total + jnp.asarray(term.weight_at(scene.step), jnp.float32) * value
    return total, terms


def _bind_judges(
    task: Task, nets: Mapping[str, Net], key: jax.Array
) -> tuple[dict[str, Callable[..., Any]], dict[str, PyTree]]:
    """Judging players as functions of their inputs; their batch statistics, which calls update."""
    judges = sorted(player for player in task.nets if player not in task.generators)
    stats = {player: nets[player].stats for player in judges}
    calls = dict.fromkeys(judges, 0)

    def bind(player: str, index: int) -> Callable[..., Any]:
        module = task.nets[player]

        def apply(*args: Any, **kwargs: Any) -> Any:
            calls[player] += 1
            drop = jax.random.fold_in(jax.random.fold_in(key, index), calls[player])
            options = {"rngs": {"dropout": drop}, **kwargs}
            if not stats[player]:
                return module.apply({"params": nets[player].params}, *args, **options)
            variables = {"params": nets[player].params, "batch_stats": stats[player]}
            result, new = module.apply(variables, *args, mutable=["batch_stats"], **options)
            stats[player] = new["batch_stats"]
            return result

        return apply

    return {player: bind(player, index) for index, player in enumerate(judges)}, stats
