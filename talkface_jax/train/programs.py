"""The compiled functions of a run, placed on its mesh."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.task import Objective, PyTree, Task, TrainState
from talkface_jax.train import optim, sharding
from talkface_jax.train.gradients import Policy
from talkface_jax.train.state import create_state
from talkface_jax.train.step import Step, make_eval_step, make_forward, make_train_step


class Programs:
    """Initialisation, training step, evaluation step and preview of one task on one mesh.

    Args:
      task: the stage.
      config: the run.
      mesh: the devices.

    Attributes:
      mesh: the devices.
      rows: rows of a batch that this process supplies.

    Raises:
      ConfigError: the devices do not divide the batch, or it cannot be computed in parts.
    """

    def __init__(self, task: Task, config: ExperimentConfig, mesh: Mesh):
        self._task = task
        self._config = config
        self.mesh = mesh
        self.rows = sharding.local_batch_size(config.data.batch_size, mesh)
        self._transforms: dict[str, optax.GradientTransformation] = optim.make_transforms(
            task, config
        )
        train = config.train
        self._policy = Policy(compute=train.compute, remat=train.remat, accumulate=train.accumulate)
        check_accumulation(task, config)
        _check_players(task, config)
        sharding.check_parts(config.data.batch_size, mesh, parts=train.accumulate)
        self._batch = sharding.batch_sharding(mesh)
        self._replicated = sharding.replicated(mesh)
        self._steps: dict[tuple[int, ...], Step] = {}
        self.state_shapes = jax.eval_shape(self._create, self._example())
        for player, patterns in task.trained.items():
            params = self.state_shapes.nets[player].params
            optim.check_patterns(patterns, params, where=f"{task.method}/{task.stage}: trained")
        self.state_shardings = sharding.state_shardings(
            self.state_shapes, mesh, min_shard_size=config.mesh.min_shard_size
        )

    @property
    def target(self) -> Any:
        """Shapes and places of the state: what a checkpoint is restored into."""
        return sharding.with_shardings(self.state_shapes, self.state_shardings)

    def _example(self) -> dict[str, np.ndarray]:
        spec = self._task.view.spec(1)
        return {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in spec.items()}

    def _create(self, batch: Mapping[str, jax.Array]) -> TrainState:
        generators = self._task.generators if self._config.train.ema_decay else ()
        # What is not trained is its own average.
        averaged = [name for name in generators if self._task.trained.get(name, ("*",))]
        return create_state(
            self._task,
            self._transforms,
            seed=self._config.seed,
            batch=batch,
            ema_players=averaged,
        )

    def init(self) -> TrainState:
        """A fresh state, made where it will lie."""
        create = jax.jit(self._create, out_shardings=self.state_shardings)
        return create(sharding.replicate(self._example(), self.mesh))

    def put_frozen(self, frozen: Mapping[str, PyTree]) -> PyTree:
        """Frozen networks, whole on every device."""
        return sharding.replicate(dict(frozen), self.mesh)

    def step_at(self, step: int) -> Step:
        """The update that follows `step` updates, compiled once per set of active objectives.

        The state is donated.

        Raises:
          ConfigError: no objective is active then.
        """
        active = tuple(
            index for index, item in enumerate(self._task.objectives) if item.active(step)
        )
        if not active:
            raise ConfigError(
                f"{self._task.method}/{self._task.stage} has no active objective at step {step}; "
                "lower train.steps or change the objectives' start and stop"
            )
        if active not in self._steps:
            chosen = tuple(self._task.objectives[index] for index in active)
            self._steps[active] = self._compile(chosen)
        return self._steps[active]

    def _compile(self, active: tuple[Objective, ...]) -> Step:
        step = make_train_step(
            self._task,
            self._transforms,
            active,
            ema_decay=self._config.train.ema_decay,
            policy=self._policy,
            masks=optim.make_masks(self._task, self._config),
        )
        return jax.jit(
            step,
            in_shardings=(self.state_shardings, self._replicated, self._batch),
            out_shardings=(self.state_shardings, self._replicated),
            donate_argnums=0,
        )

    @functools.cached_property
    def evaluate(self) -> Callable[..., dict[str, Any]]:
        """Metrics of one batch."""
        return jax.jit(make_eval_step(self._task), out_shardings=self._replicated)

    @functools.cached_property
    def preview(self) -> Callable[..., Any]:
        """Outputs and batch, whole on every device so that the host can read them."""
        forward = make_forward(self._task)

        def run(variables: Any, frozen: Any, batch: Any) -> Any:
            return forward(variables, frozen, batch), batch

        return jax.jit(run, out_shardings=self._replicated)


def check_accumulation(task: Task, config: ExperimentConfig) -> None:
    """Refuses parts of a batch where the losses need all of it.

    Raises:
      ConfigError: the config asks for them.
    """
    if config.train.accumulate > 1 and not task.means_of_items:
        raise ConfigError(
            f"config.train.accumulate is {config.train.accumulate}, but the losses of "
            f"{task.method}/{task.stage} compare sets and mean something else on parts of a batch; "
            "set it to 1 and give a smaller --config.data.batch_size"
        )


def _check_players(task: Task, config: ExperimentConfig) -> None:
    """Refuses settings of players that there are not.

    Raises:
      ConfigError: the config has some.
      ValueError: the task has, or patterns that are one text instead of several.
    """
    if strangers := sorted(set(config.players) - set(task.nets)):
        raise ConfigError(
            f"config.players.{strangers[0]} is of no player of {task.method}/{task.stage}; use one "
            f"of: {', '.join(task.nets)}"
        )
    for player, patterns in task.trained.items():
        if player not in task.nets or isinstance(patterns, str):
            raise ValueError(f"{task.method}/{task.stage}: trained has {player!r}: {patterns!r}")
