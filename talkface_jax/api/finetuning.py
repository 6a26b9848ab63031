"""A bundle that was trained further on one picture of a person."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from talkface_jax import __version__, config, runtime
from talkface_jax.api.kinds import Place, Progress
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import (
    CheckpointError,
    FaceError,
    StoppedError,
    TalkfaceError,
    WeightsError,
)
from talkface_jax.export import bundle as bundles
from talkface_jax.export import load
from talkface_jax.export.bundle import Manifest
from talkface_jax.methods import registry
from talkface_jax.methods.finetuning import REPLAY
from talkface_jax.records import Segment
from talkface_jax.task import Task, Variables
from talkface_jax.train.loop import Measured

FINETUNED = "finetuned"
"""In the lineage of a stage: what it was trained further on, one entry each time."""
STEPS = 200


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """What fine-tuning left; `str` is what the user is told.

    Attributes:
      out: the new bundle.
      manifest: its own.
      parent: weight id of the bundle that it comes from.
      steps: that were done; the best of the states on the way is what lies there.
      metric: by which it was chosen, on the picture.
      before, after: its value with the parent's weights and with those of `out`.
    """

    out: pathlib.Path
    manifest: Manifest
    parent: str
    steps: int
    metric: str
    before: float
    after: float

    def __str__(self) -> str:
        change = (
            f" ({self.after / self.before - 1:+.0%})" if self.before and self.before > 0 else ""
        )
        return (
            f"{self.out}: weights {self.manifest.weight_id}, {self.steps} steps from "
            f"{self.parent}; {self.metric} of the picture {self.before:.4f} -> {self.after:.4f}"
            f"{change}"
        )


def finetune(
    bundle: Place,
    *,
    face: Place,
    out: Place,
    face_choice: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
    measured: Measured | None = None,
) -> FineTuned:
    """Trains the stage of a bundle that paints faces further on one picture of a person.

    It needs nothing but the two: the bundle brings faces of other people that are trained on
    beside the picture, so that it does not forget them. All else of the bundle, the other networks
    too, is carried over bit for bit.

    Args:
      bundle: of `export`, of a method that can be fine-tuned, or of an earlier fine-tuning.
      face: one still picture of the person.
      out: the bundle to make; nothing may lie there.
      face_choice: where there are several faces: "largest", or an index from the left.
      steps: at most so many; it ends before where the picture gets no better.
      seed: another seed, other draws.
      progress: called as progress("method/stage", steps done, steps in all).
      measured: called as measured(step, values) after every step, with the step's losses.

    Returns:
      Where the new bundle lies, its manifest, and how the picture is painted before and after.

    Raises:
      WeightsError: no bundle, an altered one, one without replay faces, or an `out` that exists or
        cannot be written.
      ConfigError: a method that cannot be fine-tuned, or steps or a seed out of their ranges.
      FaceError: no face in the picture, or several and no choice.
      MediaError: the picture is missing or damaged, or a video.
      TalkfaceError: the folder of `out` cannot be one, the picture got no better, or the run was
        stopped. Nothing is left at `out` then.
    """
    target = pathlib.Path(out)
    bundles.require_nothing(target)
    runtime.require_folder(target.parent, flag="the folder of --out")
    run = _prepared(pathlib.Path(bundle), pathlib.Path(face), face_choice, seed=seed, steps=steps)
    with _folder(target) as folder:
        found = run.train(folder, progress=progress, measured=measured)
    record = {**run.origin, **found.record, "talkface_jax": __version__}
    stage, before = run.task.stage, run.manifest
    made = bundles.derive_bundle(
        run.parent,
        before,
        variables=found.variables,
        lineage={**before.lineage, stage: _stage(before, stage, record)},
        out=target,
    )
    told = {name: found.record[name] for name in ("steps", "metric", "before", "after")}
    return FineTuned(out=target, manifest=made, parent=before.weight_id, **told)


def _prepared(
    parent: pathlib.Path, picture: pathlib.Path, choice: str | None, *, seed: int, steps: int
) -> "_Run":
    """Everything that the run needs, read and checked."""
    manifest = load.check_bundle(parent)
    tuning = registry.fine_tuning(manifest.method)
    replay = _replay(parent, manifest)
    experiment = tuning.experiment(
        _task_config(parent, manifest.method, tuning.stage), seed=seed, steps=steps
    )
    config.validate(experiment)
    segment = _picture(picture, choice)
    task = registry.build_task(experiment.method, experiment.stage, experiment.task)
    return _Run(
        parent=parent,
        manifest=manifest,
        task=task,
        experiment=experiment,
        picture=segment,
        replay=replay,
        origin={
            "parent": manifest.weight_id,
            "replay_sha256": manifest.files[REPLAY],
            "picture_sha256": bundles.digest(picture),
        },
    )


def _stage(manifest: Manifest, stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The stage's lineage, the terms of its data in it, with one fine-tuning more."""
    before = dict(manifest.lineage.get(stage, {}))
    return {**before, FINETUNED: [*before.get(FINETUNED, []), record]}


def _replay(parent: pathlib.Path, manifest: Manifest) -> tuple[Segment, ...]:
    from talkface_jax.data import replay

    if REPLAY not in manifest.files:
        raise WeightsError(
            f"bundle {parent} has no replay faces ({REPLAY}), without which it would forget all "
            "other faces; export it again with this version"
        )
    return replay.unpack((parent / REPLAY).read_bytes(), where=str(parent / REPLAY))


def _task_config(parent: pathlib.Path, method: str, stage: str) -> Any:
    """The stage's config in the bundle.

    Raises:
      WeightsError: this version does not know such a config.
    """
    values = json.loads((parent / bundles.CONFIG).read_text()).get(stage, {})
    kind = registry.get_method(method).config_classes[stage]
    try:
        return config.build(kind, values, where=f"bundle {stage}")
    except TalkfaceError as error:
        raise WeightsError(
            f"bundle {parent} does not fit this version ({error}); export it again"
        ) from error


def _picture(path: pathlib.Path, choice: str | None) -> Segment:
    """The picture's face as a segment of one frame, labelled neutral: as synthesis takes a picture
    of which nothing else is said."""
    from talkface_jax.data.picture import picture_segment
    from talkface_jax.emotions import NEUTRAL
    from talkface_jax.media import faces

    try:
        segment = picture_segment(path, frames=1, face=choice, licence="of the user")
    except FaceError as error:
        # The choice of a face has another flag here: --face is the picture.
        raise faces.by_flag(error, "--face-choice") from error
    # The name of the user's file is nobody's business.
    info = dataclasses.replace(segment.info, clip="picture", video="", emotion=NEUTRAL, level=1)
    return dataclasses.replace(segment, info=info)


@contextlib.contextmanager
def _folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `out` for the run, which is removed afterwards."""
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{out.name}.", dir=out.parent, ignore_cleanup_errors=True
        ) as folder:
            yield pathlib.Path(folder)
    except StoppedError as error:
        raise TalkfaceError(f"stopped; nothing was written to {out}, so run it again") from error
    except OSError as error:
        raise CheckpointError(
            f"{out} cannot be written ({error.strerror}); free space or choose another path"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Found:
    """The best variables by player, and what is to be told of the run."""

    variables: Mapping[str, Variables]
    record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Run:
    """One fine-tuning: an ordinary run of the stage, over other data."""

    parent: pathlib.Path
    manifest: Manifest
    task: Task
    experiment: ExperimentConfig
    picture: Segment
    replay: tuple[Segment, ...]
    origin: Mapping[str, Any]

    def train(
        self,
        folder: pathlib.Path,
        *,
        progress: Progress | None,
        measured: Measured | None,
    ) -> _Found:
        """Trains in a folder, from the weights of the bundle."""
        from talkface_jax.train import checkpoint, evaluation, initial, loop
        from talkface_jax.train.picture import PictureSource

        experiment, task = self.experiment, self.task
        variables = {player: load.read_variables(self.parent, player) for player in task.nets}
        metric = experiment.train.best_metric
        source = PictureSource(self.picture, self.replay, seed=experiment.seed, lineage=self.origin)
        seen = source.evaluation(task.view, batch_size=experiment.data.batch_size)
        before = evaluation.evaluate_variables(task, variables, task.frozen(), seen)[metric]
        info = {"method": task.method, "stage": task.stage, "lineage": self.origin}
        initial.write_variables(folder / "parent", experiment, variables, info)
        plan = dataclasses.replace(experiment.train, init_from=(str(folder / "parent"),))
        result = loop.train(
            task,
            dataclasses.replace(experiment, train=plan),
            workdir=folder / "run",
            source=source,
            progress=progress,
            measured=measured,
        )
        found, stored = checkpoint.load_params(folder / "run", sorted(variables))
        after = stored["metrics"][metric]
        if not after < before:
            raise TalkfaceError(
                f"in {result.step} steps {metric} of the picture got no better ({before:.4f} -> "
                f"{after:.4f}); nothing was written, so go on with the bundle as it is"
            )
        versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax")}
        text = config.dumps(experiment)
        return _Found(
            found,
            {
                "steps": result.step,
                "best_step": stored["step"],
                "metric": metric,
                "before": before,
                "after": after,
                "config": json.loads(text),
                "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "versions": versions,
            },
        )
