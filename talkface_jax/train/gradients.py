"""The gradients of one step: one shared forward of the generating path, one gradient per
objective.

The generating path runs once, by `jax.vjp`. An objective of generating players is a function of its
outputs; its cotangent is pulled back through that one forward, for all of them together. One of
judging players is a function of their own parameters, with the outputs held fixed. So neither ever
receives the other's gradients.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from talkface_jax.task import (
    Batch,
    LossContext,
    Net,
    Objective,
    Outputs,
    PyTree,
    Task,
)


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a step is computed; none of it changes what is computed but for rounding.

    Attributes:
      compute: number format of the networks' arithmetic. Parameters, optimiser state and
        batch statistics stay float32, and losses are averaged there (mixed precision; Micikevicius
        et al., ICLR 2018).
      remat: what the backward pass of the generating path recomputes instead of keeping: nothing,
        all but convolutions and matrix products ("products" are kept), or "everything".
      accumulate: parts of a batch that are computed one after the other, their gradients averaged.
        Every loss must be a mean over items; BatchNorm sees one part at a time.
    """

    compute: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "products", "everything"] = "none"
    accumulate: int = 1


PLAIN = Policy()
_PRODUCTS = frozenset({"conv_general_dilated", "dot_general"})


@dataclasses.dataclass(frozen=True)
class _Forward:
    """The shared forward. `smooth` outputs carry gradients, `discrete` ones (integers) cannot."""

    smooth: Outputs
    discrete: Outputs
    stats: Mapping[str, PyTree]
    pull: Callable[[Outputs], tuple[dict[str, PyTree]]]


@dataclasses.dataclass(frozen=True)
class Scene:
    """What all objectives of one step share."""

    task: Task
    batch: Batch
    frozen: Mapping[str, PyTree]
    step: jax.Array
    key: jax.Array
    forward: _Forward
    policy: Policy


def cast_params(tree: Any, compute: str) -> Any:
    """Parameters in the number format of the arithmetic; networks follow their parameters."""
    if compute == "float32":
        return tree
    return jax.tree.map(
        lambda leaf: leaf.astype(compute) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        tree,
    )


def cast_frozen(frozen: Mapping[str, PyTree], compute: str) -> dict[str, PyTree]:
    """Frozen networks in the number format of the arithmetic; statistics and constants, as those of
    players, stay float32."""

    def cast(tree: PyTree) -> PyTree:
        if isinstance(tree, Mapping) and "params" in tree:
            return {**tree, "params": cast_params(tree["params"], compute)}
        return cast_params(tree, compute)

    return {name: cast(tree) for name, tree in frozen.items()}


def run_forward(
    task: Task,
    nets: Mapping[str, Net],
    frozen: Mapping[str, PyTree],
    batch: Batch,
    key: jax.Array,
    policy: Policy,
    *,
    step: jax.Array,
) -> _Forward:
    """Runs the generating path once and keeps its pull-back."""

    def path(params: Mapping[str, PyTree]) -> tuple[Outputs, tuple[Outputs, Mapping[str, PyTree]]]:
        variables = {
            player: {
                **net.variables,
                "params": cast_params(params.get(player, net.params), policy.compute),
            }
            for player, net in nets.items()
        }
        outputs, stats = task.forward(variables, frozen, batch, key, step=step, train=True)
        smooth = {name: item for name, item in outputs.items() if _is_smooth(item)}
        discrete = {name: item for name, item in outputs.items() if name not in smooth}
        return smooth, (discrete, stats)

    params = {player: nets[player].params for player in task.generators}
    if policy.remat != "none":
        kept = _is_product if policy.remat == "products" else None
        path = jax.checkpoint(path, policy=kept)
    smooth, pull, (discrete, stats) = jax.vjp(path, params, has_aux=True)
    return _Forward(smooth, discrete, stats, pull)


def _is_product(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in _PRODUCTS


def _is_smooth(item: PyTree) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(item))


def differentiate(
    scene: Scene, objective: Objective, own: Mapping[str, Net], seen: Mapping[str, Net]
) -> Any:
    """((total, (terms, stats)), gradients) of one objective, the latter two by player.

    Args:
      scene: what the step shares.
      objective: of generating players, of judging ones, or of both.
      own: the nets of its players, in which gradients are taken.
      seen: all nets as the objective sees them.
    """
    generating = [player for player in objective.players if player in scene.task.generators]
    judging = [player for player in objective.players if player not in generating]

    def loss(smooth: Outputs, params: Mapping[str, PyTree]) -> tuple[jax.Array, Any]:
        mine = {player: own[player].replace(params=tree) for player, tree in params.items()}
        judges, stats = _bind_judges(scene, {**seen, **mine})
        outputs = {**smooth, **scene.forward.discrete}
        total, terms = _weigh(scene, objective, outputs, judges)
        after = {player: stats[player] for player in judging}
        return total, (terms, {player: own[player].stats for player in generating} | after)

    smooth = scene.forward.smooth if generating else jax.lax.stop_gradient(scene.forward.smooth)
    params = {player: own[player].params for player in judging}
    sides = (*((0,) if generating else ()), *((1,) if judging else ()))
    result, found = jax.value_and_grad(loss, argnums=sides, has_aux=True)(smooth, params)
    gradients: dict[str, PyTree] = dict(found[-1]) if judging else {}
    if generating:
        (pulled,) = scene.forward.pull(found[0])
        gradients |= {player: pulled[player] for player in generating}
    return result, gradients


def _weigh(
    scene: Scene, objective: Objective, outputs: Outputs, judges: Mapping[str, Callable[..., Any]]
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
    scene: Scene, nets: Mapping[str, Net]
) -> tuple[dict[str, Callable[..., Any]], dict[str, PyTree]]:
    """Judging players as functions of their inputs; their batch statistics, which calls update."""
    task, key = scene.task, scene.key
    judges = sorted(player for player in task.nets if player not in task.generators)
    stats = {player: nets[player].stats for player in judges}
    calls = dict.fromkeys(judges, 0)

    def bind(player: str, index: int) -> Callable[..., Any]:
        module = task.nets[player]
        params = cast_params(nets[player].params, scene.policy.compute)

        def apply(*args: Any, **kwargs: Any) -> Any:
            calls[player] += 1
            drop = jax.random.fold_in(jax.random.fold_in(key, index), calls[player])
            options = {"rngs": {"dropout": drop}, **kwargs}
            variables = {**nets[player].variables, "params": params}
            if not stats[player]:
                return module.apply(variables, *args, **options)
            variables["batch_stats"] = stats[player]
            result, new = module.apply(variables, *args, mutable=["batch_stats"], **options)
            stats[player] = new["batch_stats"]
            return result

        return apply

    return {player: bind(player, index) for index, player in enumerate(judges)}, stats
