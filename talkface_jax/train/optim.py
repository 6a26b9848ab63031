"""Optimisers from their configs: rate, weight decay, and which parameters are trained at all."""

import difflib
import fnmatch
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from talkface_jax.config import ExperimentConfig, OptimConfig
from talkface_jax.errors import ConfigError
from talkface_jax.task import PyTree, Task
from talkface_jax.train.step import Mask

ENDING = ("cosine", "wsd")
"""Schedules that lead to a rate of zero at the end of the run."""
UNDECAYED = frozenset({"bias", "scale", "positions", "modality", "embedding"})
"""Names of parameters that weight decay leaves alone whatever their shape: what is added, scales a
norm, or is looked up. (Attention has biases with two axes; modules may have these names too.)"""


def make_schedule(config: OptimConfig, *, updates: int) -> optax.Schedule:
    """Learning rate by number of updates done: linear warm-up, then what `config.schedule` says.

    Args:
      config: of the optimiser.
      updates: how many updates the whole run makes.
    """
    warmup = config.warmup_steps
    if config.schedule in ENDING:
        # What ends must have begun; elsewhere no rate depends on the run's end.
        warmup = min(warmup, max(updates - 1, 0))
    rest = max(updates - warmup, 1)
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.lr, rest)
    elif config.schedule == "wsd":
        decay = min(config.decay_steps, rest)
        main = optax.linear_schedule(config.lr, 0.0, decay, transition_begin=rest - decay)
    elif config.schedule == "inverse_sqrt":
        main = _inverse_sqrt(config.lr, warmup)
    else:
        main = optax.constant_schedule(config.lr)
    if not warmup:
        return main
    # One step up already at the first update: a rate of zero would waste it.
    rise = optax.linear_schedule(config.lr / (warmup + 1), config.lr, warmup)
    return optax.join_schedules([rise, main], [warmup])


def _inverse_sqrt(peak: float, warmup: int) -> optax.Schedule:
    """By number of updates after the warm-up."""
    return lambda count: peak * jnp.sqrt(warmup / jnp.maximum(count + warmup, warmup))


def bound_to_end(config: OptimConfig, *, done: int, updates: int) -> bool:
    """Whether the rate that `done` updates have led to depends on the run making `updates`."""
    if config.schedule == "wsd":
        return done > updates - config.decay_steps or updates <= config.warmup_steps
    return config.schedule == "cosine"


def decays(path: tuple[str, ...], leaf: Any) -> bool:
    """Whether weight decay shrinks the parameter at `path`: matrices and kernels, nothing else."""
    return leaf.ndim >= 2 and path[-1] not in UNDECAYED


def _decay_mask(params: PyTree) -> PyTree:
    def decayed(path: Any, leaf: Any) -> bool:
        return decays(tuple(_joined(path).split("/")), leaf)

    return jax.tree_util.tree_map_with_path(decayed, params)


def _joined(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _module(path: Any) -> str:
    return _joined(path[:-1])


def is_trained(patterns: Sequence[str] | None, path: str) -> bool:
    """Whether a pattern matches the "/"-joined path of a parameter or one of its parents.

    None trains everything, an empty sequence nothing.
    """
    if patterns is None:
        return True
    places = itertools.accumulate(path.split("/"), "{}/{}".format)
    return any(fnmatch.fnmatchcase(place, pattern) for place in places for pattern in patterns)


def trained_mask(patterns: Sequence[str] | None, params: PyTree) -> PyTree:
    """`is_trained` of every leaf, in the structure of `params`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: is_trained(patterns, _joined(path)), params
    )


def _matched_by_both(
    first: Sequence[str] | None, second: Sequence[str] | None, tree: PyTree
) -> PyTree:
    """`trained_mask` of what either limits: the task's own patterns, and those of the config."""
    return jax.tree.map(operator.and_, trained_mask(first, tree), trained_mask(second, tree))


def check_patterns(patterns: Sequence[str], params: PyTree, *, where: str) -> None:
    """Checks that every pattern matches some parameter.

    Args:
      patterns: as of `is_trained`.
      params: arrays or shapes of one player.
      where: the field that holds the patterns, for the message.

    Raises:
      ConfigError: one matches none; paths that look like it are shown.
    """
    paths = [_joined(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in patterns:
        if any(is_trained((pattern,), path) for path in paths):
            continue
        places = {
            place
            for path in paths
            for place in itertools.accumulate(path.split("/"), "{}/{}".format)
        }
        near = difflib.get_close_matches(pattern, sorted(places), n=4, cutoff=0.0)
        raise ConfigError(
            f"config: {where} has the pattern {pattern!r}, which matches no parameter; use paths "
            f"that exist, such as {', '.join(near)}"
        )


def make_transform(
    config: OptimConfig,
    *,
    updates: int,
    trained: Sequence[str] | None = None,
    where: str = "optim.only",
) -> optax.GradientTransformation:
    """The optimiser: optional clipping of the global norm, then the algorithm at its schedule.

    Where only some parameters are trained, the others have no moments, do not count in the norm and
    get updates of zero.

    Args:
      config: of the optimiser; its `only` limits what is trained.
      updates: how many updates the whole run makes.
      trained: patterns that limit it further, as of `is_trained`.
      where: names the field `only` in messages.

    Returns:
      The transformation; its `init` and `update` raise a ConfigError where a pattern of `only`
      matches no parameter, or where `only` and `trained` have none in common.
    """
    algorithm = _clipped_algorithm(config, updates=updates)
    if trained is None and not config.only:
        return algorithm

    def labels(params: PyTree) -> PyTree:
        mask = trained_mask(trained, params)
        if config.only and any(jax.tree.leaves(mask)):
            check_patterns(config.only, params, where=where)
            mask = _matched_by_both(trained, config.only, params)
            if not any(jax.tree.leaves(mask)):
                raise ConfigError(
                    f"config: {where} leaves nothing to train, for the stage itself trains only "
                    f"{', '.join(trained or ())}; use paths within these"
                )
        return jax.tree.map(lambda kept: "trained" if kept else "frozen", mask)

    return optax.multi_transform({"trained": algorithm, "frozen": optax.set_to_zero()}, labels)


def _clipped_algorithm(config: OptimConfig, *, updates: int) -> optax.GradientTransformation:
    schedule = make_schedule(config, updates=updates)
    b1, b2 = config.betas
    if config.name == "sgd":
        algorithm = optax.sgd(schedule)
    elif config.weight_decay:
        algorithm = optax.adamw(
            schedule, b1=b1, b2=b2, weight_decay=config.weight_decay, mask=_decay_mask
        )
    else:
        algorithm = optax.adam(schedule, b1=b1, b2=b2)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), algorithm)
    return algorithm


def updates_before(task: Task, player: str, step: int) -> int:
    """How many updates a player has had after `step` steps, by its objectives' periods."""
    count = 0
    for objective in task.objectives:
        if player in objective.players:
            end = step if objective.stop is None else min(step, objective.stop)
            count += -(-max(end - objective.start, 0) // objective.every)
    return count


def make_schedules(task: Task, config: ExperimentConfig) -> dict[str, optax.Schedule]:
    """Learning rate by number of the player's own updates, for every player."""
    return {
        player: make_schedule(
            config.optim_of(player), updates=updates_before(task, player, config.train.steps)
        )
        for player in task.nets
    }


def make_masks(task: Task, config: ExperimentConfig) -> dict[str, Mask]:
    """What is trained, for every player that is not trained whole.

    The batch statistics of a module are, where any parameter of the module is.
    """

    def mask_of(player: str) -> Mask:
        own, asked = task.trained.get(player), config.optim_of(player).only or None

        def of_params(tree: PyTree) -> PyTree:
            return _matched_by_both(own, asked, tree)

        def of_stats(stats: PyTree, params: PyTree) -> PyTree:
            modules: dict[str, bool] = {}
            for path, on in jax.tree_util.tree_leaves_with_path(of_params(params)):
                modules[_module(path)] = modules.get(_module(path), False) or on
            return jax.tree_util.tree_map_with_path(
                lambda path, on: modules.get(_module(path), on), of_params(stats)
            )

        return Mask(of_params, of_stats)

    players = [name for name in task.nets if name in task.trained or config.optim_of(name).only]
    return {player: mask_of(player) for player in players}


def make_transforms(
    task: Task, config: ExperimentConfig
) -> dict[str, optax.GradientTransformation]:
    """The optimiser of every player; a schedule spans the updates that the player really gets.

    What `Task.trained` does not match stays as it is whatever the config says.
    """
    return {
        player: make_transform(
            config.optim_of(player),
            updates=updates_before(task, player, config.train.steps),
            trained=task.trained.get(player),
            where=f"players.{player}.only"
            if player in config.players
            else f"optim.only of {player}",
        )
        for player in task.nets
    }
