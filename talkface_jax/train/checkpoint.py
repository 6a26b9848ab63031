"""Checkpoints: asynchronous, checksummed, and readable on any number of devices.

Orbax writes the arrays; it has no integrity check of its own, so every leaf's CRC-32C goes beside
them and is compared when they are read. A checkpoint appears by a rename once it is whole: a killed
or failed write leaves a temporary folder, which is removed, and the checkpoints before it.
"""

import contextlib
import dataclasses
import errno
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from talkface_jax.config import TrainConfig
from talkface_jax.errors import CheckpointError
from talkface_jax.stored import legacy
from talkface_jax.stored.integrity import (
    checksum,
    explain_damage,
    read_document,
    reason,
    seal,
    verify,
)
from talkface_jax.stored.quiet import QuietThreads, quiet_unless_well
from talkface_jax.stored.variables import (
    DATA,
    FOLDER,
    checkpoint_steps,
    choose_step,
    load_params,
    stored_players,
)
from talkface_jax.task import TrainState, Variables
from talkface_jax.train.state import leaf_names, plain_leaves, plain_shape, typed

__all__ = [
    "DATA",
    "FOLDER",
    "Checkpoints",
    "Restored",
    "checkpoint_steps",
    "choose_step",
    "load_params",
    "stored_players",
]
_SPARE_BYTES = 2**20
_TEMPORARY = ".orbax-checkpoint-tmp"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A state, and what was stored beside it (`data`: the data position)."""

    state: TrainState
    info: dict[str, Any]


class Checkpoints:
    """The checkpoints of one working directory, open for writing.

    Args:
      workdir: checkpoints go to its folder `checkpoints`.
      config: how many stay, and which metric judges "best".
    """

    def __init__(self, workdir: pathlib.Path, config: TrainConfig):
        self.directory = (workdir / FOLDER).resolve()
        self._best = config.best_metric
        self._failed = False
        self._quiet = QuietThreads()
        self._quiet.start()
        self._remove_temporary()
        with self._explain("opened"):
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=_preservation(config),
                    # The policy decides; this makes Orbax read the metrics of what lies there
                    # already, without which a resumed run would delete the best of the run before.
                    best_fn=(lambda metrics: metrics[config.best_metric]) if self._best else None,
                    best_mode=config.best_mode,
                    enable_async_checkpointing=True,
                ),
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def latest_step(self) -> int | None:
        """The newest whole checkpoint."""
        steps = checkpoint_steps(self.directory)
        return steps[-1] if steps else None

    def path(self, step: int) -> pathlib.Path:
        """Where the checkpoint of a step lies."""
        return self.directory / str(step)

    def save(
        self,
        state: TrainState,
        info: Mapping[str, Any],
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts writing; returns once the state may be changed.

        Args:
          state: on any sharding.
          info: plain JSON values (data position, config, versions, lineage).
          metrics: online metrics at this step, if it was evaluated.

        Raises:
          CheckpointError: this write or the one before it failed; earlier checkpoints are intact.
        """
        self._write(int(state.step), plain_leaves(state), info, metrics)

    def save_variables(self, variables: Mapping[str, Variables], info: Mapping[str, Any]) -> None:
        """Writes the variables of some players alone, as step 0, and waits until they are on disk.

        `load_params` reads that; no run can be resumed from it.

        Raises:
          CheckpointError: the write failed.
        """
        nets = {
            player: {
                "params": item["params"],
                "stats": item.get("batch_stats", {}),
                "constants": item.get("constants", {}),
            }
            for player, item in variables.items()
        }
        self._write(0, leaf_names({"nets": nets}), info, None)
        self.wait()

    def _write(
        self,
        step: int,
        leaves: Mapping[str, Any],
        info: Mapping[str, Any],
        metrics: Mapping[str, float] | None,
    ) -> None:
        self.wait()
        if step in checkpoint_steps(self.directory):
            return
        document = {
            "info": {**info, "step": step, "metrics": dict(metrics or {})},
            "crc32c": {name: checksum(leaf) for name, leaf in leaves.items()},
        }
        judged = {self._best: metrics[self._best]} if metrics and self._best in metrics else None
        with self._explain("written", step):
            _require_space(self.directory, sum(leaf.nbytes for leaf in leaves.values()))
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(dict(leaves)),
                    meta=ocp.args.JsonSave(seal(document)),
                ),
                metrics=judged,
            )

    def wait(self) -> None:
        """Blocks until everything is on disk.

        Raises:
          CheckpointError: a write failed; earlier checkpoints are intact.
        """
        with self._explain("written"):
            self._manager.wait_until_finished()

    def restore(self, target: TrainState, *, step: int) -> Restored:
        """Reads a checkpoint into the shapes and places of `target` (`sharding.with_shardings`).

        Raises:
          CheckpointError: it is damaged, or belongs to other networks.
        """
        document = read_document(self.path(step))
        wanted = leaf_names(target)
        stored = legacy.stored_names(wanted, set(document["crc32c"]))
        _compare_names(set(stored.values()), set(document["crc32c"]), self.path(step))
        plain = {stored[name]: plain_shape(leaf) for name, leaf in wanted.items()}
        with quiet_unless_well(), explain_damage(self.path(step)):
            leaves = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(plain))
            )["state"]
        verify(leaves, document["crc32c"], self.path(step))
        restored = [typed(leaves[stored[name]], leaf) for name, leaf in wanted.items()]
        if len(set(stored.values())) < len(stored):
            # Two leaves came from one: a buffer that they share could not be donated.
            restored = jax.tree.map(jnp.copy, restored)
        state = jax.tree.unflatten(jax.tree.structure(target), restored)
        return Restored(state=state, info=document["info"])

    def preempted(self, step: int) -> bool:
        """Whether the processes of one run agreed, after a SIGTERM, to stop at this step."""
        return bool(self._manager.reached_preemption(step))

    def read_info(self, step: int) -> dict[str, Any]:
        """What was stored beside the state.

        Raises:
          CheckpointError: it is damaged.
        """
        return read_document(self.path(step))["info"]

    def close(self) -> None:
        """Waits for the last write and ends Orbax's threads."""
        try:
            # A failed write is reported once; closing must not hide it behind another.
            if not self._failed:
                self.wait()
        finally:
            with contextlib.suppress(Exception):
                self._manager.close()
            if not self._failed:
                self._quiet.stop()

    @contextlib.contextmanager
    def _explain(self, what: str, step: int | None = None) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            self._failed = True
            self._remove_temporary()
            last = self.latest_step
            kept = f"{self.path(last)} is intact" if last is not None else "none was written before"
            name = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise CheckpointError(
                f"{name} in {self.directory} could not be {what} ({reason(error)}); free disk "
                f"space or permissions there and run the same command again ({kept})"
            ) from error

    def _remove_temporary(self) -> None:
        """Orbax's threads may still be writing into the folder of a failed write: tries again."""
        if jax.process_index() != 0 or not self.directory.is_dir():
            return
        for _ in range(20):
            left = [path for path in self.directory.iterdir() if _TEMPORARY in path.name]
            for path in left:
                shutil.rmtree(path, ignore_errors=True)
            if not left:
                return
            time.sleep(0.1)


def _require_space(directory: pathlib.Path, needed: int) -> None:
    """Fails before anything is written: TensorStore's threads report a full disk in many words."""
    free = shutil.disk_usage(directory).free
    if free < needed + _SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"{needed / 2**20:.1f} MiB are needed, {free / 2**20:.1f} MiB are free"
        )


def _preservation(config: TrainConfig) -> Any:
    """Latest and best: Orbax's own `best_fn` with a limit would delete the latest."""
    latest = checkpoint_managers.LatestN(n=config.keep_latest)
    if not config.best_metric or config.keep_best < 1:
        return latest
    best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: metrics[config.best_metric],
        reverse=config.best_mode == "min",
        n=config.keep_best,
        keep_checkpoints_without_metrics=False,
    )
    return checkpoint_managers.AnyPreservationPolicy([latest, best])


def _compare_names(wanted: set[str], stored: set[str], path: pathlib.Path) -> None:
    if wanted == stored:
        return
    name = sorted(wanted ^ stored)[0]
    side = "has no" if name in wanted else "also has"
    raise CheckpointError(
        f"{path} {side} {name}: it was written for other networks or optimisers; "
        "use another --workdir or the version that wrote it"
    )
