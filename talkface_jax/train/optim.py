"""Optimisers from their configs."""

import optax

from talkface_jax.config import ExperimentConfig, OptimConfig
from talkface_jax.task import Task


def make_schedule(config: OptimConfig, *, updates: int) -> optax.Schedule:
    """Learning rate by number of updates done: linear warm-up, then constant or cosine to zero.

    Args:
      config: of the optimiser.
      updates: how many updates the whole run makes.
    """
    warmup = min(config.warmup_steps, max(updates - 1, 0))
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.lr, max(updates - warmup, 1))
    else:
        main = optax.constant_schedule(config.lr)
    if not warmup:
        return main
    # One step up already at the first update: a rate of zero would waste it.
    rise = optax.linear_schedule(config.lr / (warmup + 1), config.lr, warmup)
    return optax.join_schedules([rise, main], [warmup])


def make_transform(config: OptimConfig, *, updates: int) -> optax.GradientTransformation:
    """The optimiser: optional clipping of the global norm, then the algorithm at its schedule."""
    schedule = make_schedule(config, updates=updates)
    b1, b2 = config.betas
    if config.name == "sgd":
        algorithm = optax.sgd(schedule)
    elif config.weight_decay:
        algorithm = optax.adamw(schedule, b1=b1, b2=b2, weight_decay=config.weight_decay)
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


def make_transforms(
    task: Task, config: ExperimentConfig
) -> dict[str, optax.GradientTransformation]:
    """The optimiser of every player; a schedule spans the updates that the player really gets."""
    return {
        player: make_transform(
            config.optim_of(player), updates=updates_before(task, player, config.train.steps)
        )
        for player in task.nets
    }
