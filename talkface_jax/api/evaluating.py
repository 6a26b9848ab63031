"""Numbers with the baselines that they must be read against: of landmarks, and of mp4s."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from talkface_jax import runtime
from talkface_jax.api.kinds import Place, Progress
from talkface_jax.capabilities import Aspect, Declaration, Driven
from talkface_jax.data.pipeline import PreparedDataset, open_dataset
from talkface_jax.errors import ConfigError, RecordError
from talkface_jax.evaluate import (
    blink_page,
    blinks,
    emotion_cases,
    emotion_page,
    emotions,
    landmarks,
    report,
    ridge,
    scores,
    shards,
)
from talkface_jax.evaluate.blinks import BlinkReport
from talkface_jax.evaluate.emotions import EmotionReport
from talkface_jax.evaluate.scores import Scores
from talkface_jax.export.load import load_bundle
from talkface_jax.methods import registry
from talkface_jax.synthesize import run as engine

_BLINKS = "make and measure blinks"
_Report = TypeVar("_Report")


@dataclasses.dataclass(frozen=True)
class LandmarkEvaluation:
    """What `evaluate_landmarks` found.

    Attributes:
      scores: the table, as in scores.json; None where it was not asked for.
      blinks: of a method that makes blinks of its own, as in blinks.json; None where it makes none
        or they could not be compared.
      no_blinks: why they could not be compared; empty elsewhere.
      emotions: of a method that shows the emotion that is asked for, as in emotions.json; None
        where it shows none, or they could not be measured.
      no_emotions: why they could not be measured; empty elsewhere.
      left_out: row -> why the table does not have it.
    """

    scores: Scores | None
    blinks: BlinkReport | None = None
    no_blinks: str = ""
    emotions: EmotionReport | None = None
    no_emotions: str = ""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)


def evaluate_landmarks(
    bundle: Place,
    *,
    data: Place,
    out: Place,
    split: str = "test",
    train_data: Place | None = None,
    without: Collection[Aspect] = (),
    table: bool = True,
    command: str | None = None,
    progress: Progress | None = None,
) -> LandmarkEvaluation:
    """Scores the landmarks that a bundle predicts for a prepared split; nothing is rendered.

    Writes `out`/scores.json and `out`/report.html; of a method that makes blinks of its own also
    blinks.json and blinks.html; of one that shows the emotion that is asked for also emotions.json
    and emotions.html. The ridge row is fitted on the training split.

    Args:
      bundle: from `export`.
      data: from `talkface prepare`.
      out: folder of the reports; made if need be.
      split: of `data`.
      train_data: prepared set from whose train split baselines learn; `data` by default.
      without: what has a report of its own and is not measured this time.
      table: whether the landmarks are scored.
      command: the command line that the report states; this process's by default.
      progress: called as progress(what, done, total).

    Raises:
      WeightsError: a bundle that is altered or does not fit this version.
      RecordError: no such split, or records that cannot be read.
      ConfigError: the method is not driven by speech.
      TalkfaceError: no segment could be scored, or `out` cannot be a folder.
    """
    folder, place = pathlib.Path(out), os.fspath(data)
    runtime.require_folder(folder, flag="--out")
    loaded = load_bundle(pathlib.Path(bundle))
    chain = engine.build_chain(loaded)
    method = registry.declaration(loaded.manifest.method)
    _require_speech(method)
    dataset = open_dataset(place, split)
    train = _training(dataset, place, train_data)
    found, left_out = None, {}
    if table:
        notes = {"bundle": loaded.manifest.weight_id, "data": f"{place}, {split}"}
        options = {"notes": notes, "command": command, "progress": progress}
        found, left_out = _score(chain, method, dataset, train, place, **options)
        report.write_report(found, folder)
    wanted, told = {*method.generates} - {*without}, {"out": folder, "progress": progress}
    blinked, no_blinks = _unless_refused(
        Aspect.BLINKS in wanted,
        lambda: _compare_blinks(chain, dataset, known=train or dataset, **told),
    )
    shown, no_emotions = _unless_refused(
        Aspect.EMOTION in wanted, lambda: _measure_emotions(chain, method, dataset, **told)
    )
    return LandmarkEvaluation(found, blinked, no_blinks, shown, no_emotions, left_out)


def _require_speech(method: Declaration) -> None:
    if Driven.AUDIO not in method.driven_by:
        raise ConfigError(
            f"{method.name} predicts no landmarks from speech; score its videos with --pred and "
            "--truth, or give a bundle of another method"
        )


def _score(
    chain: Any,
    method: Declaration,
    dataset: PreparedDataset,
    train: PreparedDataset | None,
    place: str,
    *,
    notes: Mapping[str, str],
    command: str | None,
    progress: Progress | None,
) -> tuple[Scores, dict[str, str]]:
    """The table of landmarks, and why rows are not in it.

    Raises:
      TalkfaceError: no segment could be scored.
    """
    linear, left_out = _fit_ridge(train, chain, data=place, progress=progress)
    if shards.speakers_of(dataset) < 2:
        left_out[scores.MISMATCHED] = f"{place} has one speaker in split {dataset.split}"
    known = {
        **notes,
        **{f"no row {row}": reason for row, reason in left_out.items()},
        "unit of the intervals": "segments of at most 125 frames",
        **({} if linear is None else {"ridge regression": str(linear)}),
    }
    failures: list[scores.Failure] = []
    cases = shards.motion_cases(
        dataset, chain, failures=failures, declaration=method, linear=linear, progress=progress
    )
    found = landmarks.evaluate_motion(cases, failures=failures, command=command, notes=known)
    scores.require_predictions(
        found.clips,
        failures=found.failures,
        noun="segment",
        remedy="give a --data and --split with faces",
    )
    return found, left_out


def _unless_refused(wanted: bool, measure: Callable[[], _Report]) -> tuple[_Report | None, str]:
    """What was measured; or None, and why it could not be."""
    if not wanted:
        return None, ""
    try:
        return measure(), ""
    except RecordError as error:
        return None, str(error)


def _training(
    dataset: PreparedDataset, place: str, train_data: Place | None
) -> PreparedDataset | None:
    """What baselines may know, as the networks do: the training data; None where there are none."""
    if train_data is not None:
        return open_dataset(os.fspath(train_data), "train")
    splits = {shard.split for shard in dataset.manifest.shards}
    return open_dataset(place, "train") if "train" in splits else None


def _fit_ridge(
    train: PreparedDataset | None, chain: Any, *, data: str, progress: Progress | None
) -> tuple[ridge.Ridge | None, dict[str, str]]:
    """The regression of the ridge row, or None and why there is none."""
    if train is None:
        return None, {scores.RIDGE: f"{data} has no training split to fit it on"}
    try:
        return shards.fit_ridge(train, chain, progress=progress), {}
    except RecordError as error:
        return None, {scores.RIDGE: str(error)}


def _compare_blinks(
    chain: Any,
    dataset: PreparedDataset,
    *,
    known: PreparedDataset,
    out: pathlib.Path,
    progress: Progress | None,
) -> BlinkReport:
    """Blinks that the bundle makes from noise, against the tracked ones of the split.

    Raises:
      RecordError: there are no blinks to compare with.
    """
    for name in ("blinks.json", "blinks.html"):
        (out / name).unlink(missing_ok=True)
    if progress is not None:
        progress(_BLINKS, 0, 1)
    tracked = shards.blink_curves(dataset)
    found = blinks.evaluate_blinks(
        lambda seed, frames: chain.blinks(frames, seed=seed),
        tracked.curves,
        speakers=tracked.speakers,
        constant=blinks.ConstantBlinker.of(shards.blink_curves(known).curves),
    )
    blink_page.write_report(found, out)
    if progress is not None:
        progress(_BLINKS, 1, 1)
    return found


def _measure_emotions(
    chain: Any,
    method: Declaration,
    dataset: PreparedDataset,
    *,
    out: pathlib.Path,
    progress: Progress | None,
) -> EmotionReport:
    """What the bundle makes of the labelled clips of the split, in every emotion.

    Raises:
      RecordError: no clip has a label, or none could be predicted.
    """
    for name in (emotion_page.JSON, emotion_page.PAGE):
        (out / name).unlink(missing_ok=True)
    failures: dict[str, str] = {}
    cases = emotion_cases.emotion_cases(
        dataset, chain, method, failures=failures, progress=progress
    )
    found = emotions.evaluate_emotions(cases, failures=failures)
    emotion_page.write_report(found, out)
    return found
