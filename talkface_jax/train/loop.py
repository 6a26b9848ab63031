"""The training loop.

Order of one turn: take a batch that is already on its way to the devices, dispatch the step, send
the next batch, and only then look at the metrics of the step before, so that neither reading them
nor copying a batch stalls the device. Before anything is kept (evaluation, checkpoint) the last
step's metrics are read too: a state whose loss or gradient is not finite is never saved.

Order of a start: the data must have windows for the task; if there is a step to make, the frozen
networks must be there and `train.best_metric` must be measured; the working directory must belong
to the config; the newest checkpoint, if there is one, gives the state and the data position; else
the state is fresh, but for the players that `train.init_from` gives and what the task computes from
the data; logs are cut back to its step.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from talkface_jax import config as config_module
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, StoppedError, TalkfaceError
from talkface_jax.stored.integrity import digest
from talkface_jax.task import PyTree, Task, TrainState
from talkface_jax.train import optim, sharding
from talkface_jax.train.checkpoint import DATA, FOLDER, Checkpoints, checkpoint_steps
from talkface_jax.train.evaluation import check_metric, evaluate, unknown_metric
from talkface_jax.train.feed import DeviceBatches
from talkface_jax.train.initial import (
    Initial,
    fit_initial,
    load_initial,
    require_resumable,
    start_state,
)
from talkface_jax.train.patience import PATIENCE, Patience
from talkface_jax.train.programs import Programs
from talkface_jax.train.signals import StopRequest
from talkface_jax.train.source import Source, TrainBatches, prepared_source
from talkface_jax.train.state import evaluation_variables
from talkface_jax.train.telemetry import Speedometer, Telemetry
from talkface_jax.train.workdir import prepare_workdir

FROZEN = "frozen"
"""Key of a checkpoint's info: digests of the frozen networks by name."""
INIT_FROM = "init_from"
"""Key of a checkpoint's lineage: where the parameters of the first step came from."""
Progress = Callable[[str, int, int], None]
"""Called as progress("method/stage", steps done, steps in all)."""
Measured = Callable[[int, Mapping[str, float]], None]
"""Called as measured(step, values) after every step."""
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves.

    Attributes:
      step: optimiser steps done.
      metrics: the last evaluation's online metrics (`eval/…`) and the last step's losses.
      checkpoint: path of the last checkpoint.
    """

    step: int
    metrics: dict[str, float]
    checkpoint: pathlib.Path


def train(
    task: Task,
    config: ExperimentConfig,
    *,
    workdir: pathlib.Path,
    source: Source | None = None,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> TrainResult:
    """Trains to `config.train.steps`, from the newest checkpoint in `workdir` if there is one.

    Args:
      task: the stage.
      config: the run; a directory belongs to one config, but for `workdir.CHANGEABLE`.
      workdir: gets config.json, metrics.jsonl (with `Speedometer`), tensorboard/ and checkpoints/.
      source: the data; by default the prepared directory that the config names.
      progress: called before the first step and after every step, in the first process only.
      measured: called beside it with the step's losses and gradient norms by name, and every
        `train.log_every` steps also with learning rates and pace, as metrics.jsonl has them.

    Raises:
      CheckpointError: a directory that belongs to another config or holds converted weights, an
        `init_from` that does not fit, or a checkpoint that cannot be written or read.
      TalkfaceError: a loss that is not finite, or a stop by SIGINT or SIGTERM (after saving).
      ConfigError: devices, batch size, data and `train.best_metric` do not fit each other.
      WeightsError: the file of a frozen network is missing or altered.
    """
    programs = Programs(task, config, sharding.make_mesh(config.mesh))
    source, first = source or prepared_source(config), jax.process_index() == 0
    opened = source.train(task.view, batch_size=programs.rows, seed=config.seed)
    with (
        contextlib.closing(opened) as batches,
        # After the windows are open: a mistake there must not make the directory this config's.
        contextlib.nullcontext(_claim(workdir, task, config, programs, source)) as claim,
        Checkpoints(workdir, config.train) as checkpoints,
    ):
        initial, frozen = claim
        state, info = _start(programs, checkpoints, batches, initial)
        step = int(state.step)
        logs = Telemetry(workdir, resume_step=step, enabled=first)
        with logs as telemetry, StopRequest() as stop:
            run = _Run(
                task=task,
                config=config,
                source=source,
                batches=DeviceBatches(batches, programs.mesh),
                programs=programs,
                checkpoints=checkpoints,
                telemetry=telemetry,
                progress=(progress if first else None) or _nothing,
                measured=(measured if first else None) or _nothing,
                stop=stop,
                initial=info.get("lineage", {}).get(INIT_FROM, list(initial.lineage)),
                losses=dict(info.get("losses", {})),
                evaluated=dict(info.get("metrics", {})),
                frozen=frozen,
                frozen_sha256=dict(info.get(FROZEN, {})),
                patience=Patience.of(config.train, info),
            )
            return run.to_the_end(state, step)


def _nothing(*_: Any) -> None:
    """In place of a callback that was not given."""


def _claim(
    workdir: pathlib.Path,
    task: Task,
    config: ExperimentConfig,
    programs: Programs,
    source: Source,
) -> tuple[Initial, Mapping[str, PyTree]]:
    """Makes the directory this run's; gives what it starts from if it has no checkpoint yet, and
    the frozen networks, on the host, if there is a step to make."""
    require_resumable(workdir)
    initial, frozen = Initial(), {}
    done, shapes = checkpoint_steps(workdir / FOLDER), programs.state_shapes
    # Before the directory has a config: after a mistake another config can have it.
    if not done or done[-1] < config.train.steps:
        frozen = task.frozen()
        check_metric(config.train.best_metric, task, shapes, frozen, rows=programs.rows)
    if not done:
        initial = load_initial(task, config.train.init_from, shapes)
        initial = fit_initial(task, source, initial, shapes)
    prepare_workdir(workdir, config, task=task)
    return initial, frozen


def _start(
    programs: Programs, checkpoints: Checkpoints, batches: TrainBatches, initial: Initial
) -> tuple[TrainState, dict[str, Any]]:
    """The state to go on from, with the data position set."""
    latest = checkpoints.latest_step
    if latest is None:
        return start_state(programs, initial), {}
    restored = checkpoints.restore(programs.target, step=latest)
    batches.set_state(restored.info[DATA])
    logger.info("resuming from %s", checkpoints.path(latest))
    return restored.state, restored.info


@dataclasses.dataclass
class _Run:
    """The loop's moving parts.

    `initial` is the lineage of the parameters that the run started from; `frozen` and
    `frozen_sha256` the variables of the frozen networks, if there is a step to make, and their
    digests; `late` holds the metrics of the last dispatched step, still unread; `losses` and
    `evaluated` the last values that were read.
    """

    task: Task
    config: ExperimentConfig
    source: Source
    batches: DeviceBatches
    programs: Programs
    checkpoints: Checkpoints
    telemetry: Telemetry
    progress: Progress
    measured: Measured
    stop: StopRequest
    initial: Sequence[Mapping[str, Any]]
    losses: dict[str, float]
    evaluated: dict[str, float]
    frozen: Any
    frozen_sha256: dict[str, str]
    patience: Patience
    late: tuple[int, dict[str, jax.Array]] | None = None
    speed: Speedometer = dataclasses.field(default_factory=Speedometer)

    @property
    def name(self) -> str:
        """Of the stage."""
        return f"{self.task.method}/{self.task.stage}"

    @functools.cached_property
    def schedules(self) -> dict[str, Any]:
        """Learning rates by player."""
        return optim.make_schedules(self.task, self.config)

    def to_the_end(self, state: TrainState, start: int) -> TrainResult:
        """Steps until `train.steps`, the end of `train.patience` or a stop request."""
        steps = start if self.patience.spent else self.config.train.steps
        self.progress(self.name, start, steps)
        if start < steps:
            self._place_frozen()
        for step in range(start, steps):
            state, metrics = self.programs.step_at(step)(state, self.frozen, next(self.batches))
            if step + 1 < steps:
                self.batches.prefetch()
            self._settle()
            self.late = (step + 1, metrics)
            self.speed.count(waited=self.batches.waited)
            self._keep(state, step + 1)
            if self.patience.spent:
                break
        self.checkpoints.wait()
        latest = self.checkpoints.latest_step
        assert latest is not None
        metrics = {f"eval/{name}": value for name, value in self.evaluated.items()} | self.losses
        return TrainResult(latest, metrics, self.checkpoints.path(latest))

    def _place_frozen(self) -> None:
        """Puts the frozen networks where they will lie.

        Raises:
          CheckpointError: they are not those that the run was made with.
        """
        found = {name: digest(tree) for name, tree in self.frozen.items()}
        for name, known in self.frozen_sha256.items():
            if found.get(name, known) != known:
                raise CheckpointError(
                    f"{self.checkpoints.directory.parent} was trained with another frozen network "
                    f"{name!r}; give the file that it was trained with, or another --workdir"
                )
        self.frozen_sha256 = found
        self.frozen = self.programs.put_frozen(self.frozen)

    def _keep(self, state: TrainState, done: int) -> None:
        """Evaluation, previews and checkpoint, where they are due after `done` steps."""
        train = self.config.train
        stopping = self._stop_requested(done)
        saving = _due(done, train.checkpoint_every) or done == train.steps or stopping
        # Which checkpoint is best is judged at its own step.
        evaluating = _due(done, train.eval_every) or (saving and bool(train.best_metric))
        previewing = _due(done, train.preview_every)
        if not (saving or evaluating or previewing):
            return
        self._settle()
        before = time.perf_counter()
        if evaluating:
            self._evaluate(state, done)
        if previewing:
            self._preview(state, done)
        if saving or self.patience.spent:
            self.checkpoints.save(
                state, self._info(), metrics=self.evaluated if evaluating else None
            )
        self.speed.skip(time.perf_counter() - before)
        if stopping and done < train.steps:
            self.checkpoints.wait()
            raise StoppedError(
                f"stopped by {self.stop.name or 'preemption'} after step {done}, which is saved in "
                f"{self.checkpoints.path(done)}; run the same command again to go on"
            )

    def _stop_requested(self, done: int) -> bool:
        # One process decides alone; several must agree on the step, which Orbax sees to.
        return bool(self.stop) if jax.process_count() == 1 else self.checkpoints.preempted(done)

    def _settle(self) -> None:
        """Reads, checks and logs the metrics of the step before."""
        if self.late is None:
            return
        step, metrics = self.late
        self.late = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._require_finite(step, values)
        sets = [
            name.removeprefix("update/")
            for name, value in values.items()
            if name.startswith("update/") and not value
        ]
        skipped = {*sets, *(player for players in sets for player in players.split("+"))}
        values = {
            name: value
            for name, value in values.items()
            if not name.startswith("update/") and name.split("/")[1] not in skipped
        }
        self.losses |= values
        if _due(step, self.config.train.log_every) or step == self.config.train.steps:
            values = {**values, **self._rates(step), **self.speed.read()}
            self.telemetry.write(step, values)
        self.measured(step, values)
        self.progress(self.name, step, self.config.train.steps)

    def _rates(self, step: int) -> dict[str, float]:
        """Each player's learning rate in that step."""
        return {
            f"learning_rate/{player}": np.asarray(
                schedule(max(optim.updates_before(self.task, player, step) - 1, 0))
            ).item()
            for player, schedule in self.schedules.items()
        }

    def _require_finite(self, step: int, values: dict[str, float]) -> None:
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if not broken:
            return
        shown = ", ".join(f"{name} = {value:.6g}" for name, value in sorted(values.items()))
        self.checkpoints.wait()
        last = self.checkpoints.latest_step
        good = (
            f"the last good checkpoint is {self.checkpoints.path(last)}"
            if last is not None
            else ("no checkpoint was written before")
        )
        raise TalkfaceError(
            f"step {step} is not finite in {', '.join(sorted(broken))} ({shown}); {good}; lower "
            "optim.lr or set optim.clip_norm"
        )

    def _evaluate(self, state: TrainState, done: int) -> None:
        batches = self.source.evaluation(self.task.view, batch_size=self.programs.rows)
        self.evaluated = evaluate(
            functools.partial(self.programs.evaluate, evaluation_variables(state), self.frozen),
            (sharding.put_batch(batch, self.programs.mesh) for batch in batches),
        )
        best = self.config.train.best_metric
        if best and best not in self.evaluated:
            raise unknown_metric(best, self.task, self.evaluated)
        if best:
            self.patience.see(self.evaluated[best])
        self.telemetry.write(
            done, {f"eval/{name}": value for name, value in self.evaluated.items()}
        )

    def _preview(self, state: TrainState, done: int) -> None:
        batch = next(
            iter(self.source.evaluation(self.task.view, batch_size=self.programs.rows)), None
        )
        if batch is None:
            return
        outputs, whole = jax.device_get(
            self.programs.preview(
                evaluation_variables(state),
                self.frozen,
                sharding.put_batch(batch, self.programs.mesh),
            )
        )
        if jax.process_index() == 0:
            self.telemetry.write_previews(done, self.task.previews(outputs, whole))

    def _info(self) -> dict[str, Any]:
        """What is stored beside the state: all of it plain JSON."""
        text = config_module.dumps(self.config)
        origin = {INIT_FROM: list(self.initial)} if self.initial else {}
        packages = ("talkface-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")
        return {
            "method": self.task.method,
            "stage": self.task.stage,
            DATA: self.batches.get_state(),
            "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "lineage": {**self.source.lineage, **origin},
            "losses": self.losses,
            FROZEN: self.frozen_sha256,
            PATIENCE: self.patience.state(),
        }


def _due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0
