"""Numbers with the baselines that they must be read against: of landmarks, and of mp4s."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from talkface_jax import runtime
from talkface_jax.api.kinds import Place, Progress
from talkface_jax.capabilities import Aspect
from talkface_jax.data.pipeline import PreparedDataset, open_dataset
from talkface_jax.errors import RecordError
from talkface_jax.evaluate import (
    benchmark,
    blink_page,
    blinks,
    landmarks,
    pairs,
    report,
    ridge,
    scores,
    shards,
)
from talkface_jax.evaluate.blinks import BlinkReport
from talkface_jax.evaluate.scores import Scores
from talkface_jax.export.load import Bundle, load_bundle
from talkface_jax.media import faces
from talkface_jax.media.audio import read_clip_audio, write_wav
from talkface_jax.media.video import open_video
from talkface_jax.methods import registry
from talkface_jax.synthesize import run as engine

_BLINKS = "make and measure blinks"


@dataclasses.dataclass(frozen=True)
class LandmarkEvaluation:
    """What `evaluate_landmarks` found.

    Attributes:
      scores: the table, as in scores.json.
      blinks: of a method that makes blinks of its own, as in blinks.json; None where it makes none
        or they could not be compared.
      no_blinks: why they could not be compared; empty elsewhere.
      left_out: row -> why the table does not have it.
    """

    scores: Scores
    blinks: BlinkReport | None = None
    no_blinks: str = ""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)


def evaluate_landmarks(
    bundle: Place,
    *,
    data: Place,
    out: Place,
    split: str = "test",
    command: str | None = None,
    progress: Progress | None = None,
) -> LandmarkEvaluation:
    """Scores the landmarks that a bundle predicts for a prepared split; nothing is rendered.

    Writes `out`/scores.json and `out`/report.html; of a method that makes blinks of its own also
    blinks.json and blinks.html, the blinks against the tracked ones of the split. The ridge row is
    fitted on the training split.

    Args:
      bundle: from `export`.
      data: from `talkface prepare`.
      out: folder of the reports; made if need be.
      split: of `data`.
      command: the command line that the report states; this process's by default.
      progress: called as progress(what, done, total).

    Raises:
      WeightsError: a bundle that is altered or does not fit this version.
      RecordError: no such split, or records that cannot be read.
      TalkfaceError: no segment could be scored, or `out` cannot be a folder.
    """
    folder, place = pathlib.Path(out), os.fspath(data)
    runtime.require_folder(folder, flag="--out")
    loaded = load_bundle(pathlib.Path(bundle))
    chain = engine.build_chain(loaded)
    failures: list[scores.Failure] = []
    dataset = open_dataset(place, split)
    linear, left_out = _fit_ridge(dataset, chain, data=place, progress=progress)
    if shards.speakers_of(dataset) < 2:
        left_out[scores.MISMATCHED] = f"{place} has one speaker in split {split}"
    found = landmarks.evaluate_motion(
        shards.motion_cases(dataset, chain, failures=failures, linear=linear, progress=progress),
        failures=failures,
        command=command,
        notes={
            "bundle": loaded.manifest.weight_id,
            "data": f"{place}, {split}",
            "unit of the intervals": "segments of at most 125 frames",
            **({} if linear is None else {"ridge regression": str(linear)}),
            **{f"no row {row}": reason for row, reason in left_out.items()},
        },
    )
    scores.require_predictions(
        found.clips,
        failures=found.failures,
        noun="segment",
        remedy="give a --data and --split with faces",
    )
    report.write_report(found, folder)
    made, why = _blinks_of(loaded, chain, dataset, data=place, out=folder, progress=progress)
    return LandmarkEvaluation(found, made, no_blinks=why, left_out=left_out)


def _blinks_of(
    loaded: Bundle, chain: Any, dataset: PreparedDataset, **options: Any
) -> tuple[BlinkReport | None, str]:
    """The blinks of a method that makes some; or None, and why they could not be compared."""
    if Aspect.BLINKS not in registry.declaration(loaded.manifest.method).generates:
        return None, ""
    try:
        return _compare_blinks(chain, dataset, **options), ""
    except RecordError as error:
        return None, str(error)


def _fit_ridge(
    dataset: PreparedDataset, chain: Any, *, data: str, progress: Progress | None
) -> tuple[ridge.Ridge | None, dict[str, str]]:
    """The regression of the ridge row, or None and why there is none."""
    if "train" not in {shard.split for shard in dataset.manifest.shards}:
        return None, {scores.RIDGE: f"{data} has no training split to fit it on"}
    try:
        return shards.fit_ridge(open_dataset(data, "train"), chain, progress=progress), {}
    except RecordError as error:
        return None, {scores.RIDGE: str(error)}


def _compare_blinks(
    chain: Any,
    dataset: PreparedDataset,
    *,
    data: str,
    out: pathlib.Path,
    progress: Progress | None,
) -> BlinkReport:
    """Blinks that the bundle makes from noise, against the tracked ones of the split.

    Raises:
      RecordError: there are no blinks to compare with.
    """
    for name in ("blinks.json", "blinks.html"):
        (out / name).unlink(missing_ok=True)
    # The baseline knows the training data, as the network does.
    splits = {shard.split for shard in dataset.manifest.shards}
    known = open_dataset(data, "train") if "train" in splits else dataset
    if progress is not None:
        progress(_BLINKS, 0, 1)
    found = blinks.evaluate_blinks(
        lambda seed, frames: chain.blinks(frames, seed=seed),
        shards.blink_curves(dataset),
        constant=blinks.ConstantBlinker.of(shards.blink_curves(known)),
    )
    blink_page.write_report(found, out)
    if progress is not None:
        progress(_BLINKS, 1, 1)
    return found


def evaluate_videos(
    pred: Place,
    *,
    truth: Place,
    out: Place,
    bundle: Place | None = None,
    face: str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores a folder of generated mp4s against the true ones; both are tracked anew.

    Writes `out`/scores.json and `out`/report.html.

    Args:
      pred: folder of generated mp4s.
      truth: folder of the true ones, matched by name.
      out: folder of the report; made if need be, and none of the inputs.
      bundle: from `export`; with it, the rows of shifted audio and of silence are synthesized too.
      face: where there are several faces: "speaker", "largest", or an index from the left.
      command: the command line that the report states; this process's by default.
      progress: called as progress(what, done, total).

    Raises:
      FaceError: `face` is no choice, or not one that a true video allows.
      MediaError: a folder that does not exist or holds no video.
      WeightsError: a bundle that is altered or does not fit this version.
      TalkfaceError: no video could be scored, or `out` cannot be a folder or is an input.
    """
    folder, true = pathlib.Path(out), pathlib.Path(truth)
    runtime.require_folder(folder, flag="--out")
    # Before rows are synthesized, which takes minutes.
    faces.check_choice(face)
    with tempfile.TemporaryDirectory() as scratch:
        rows = {}
        if bundle is not None:
            rows = _synthesize_rows(
                pathlib.Path(bundle), true, pathlib.Path(scratch), face=face, progress=progress
            )
        return benchmark.benchmark(
            pathlib.Path(pred),
            true,
            folder,
            rows=rows,
            face=face,
            command=command,
            progress=progress,
        )


def _synthesize_rows(
    bundle: pathlib.Path,
    truth: pathlib.Path,
    scratch: pathlib.Path,
    *,
    face: str | None,
    progress: Progress | None,
) -> dict[str, pathlib.Path]:
    """What the bundle makes of the true videos with their sound shifted, and with silence."""
    rows = {name: scratch / name for name in (scores.SHIFTED_AUDIO, scores.SILENCE)}
    truths = pairs.find_videos(truth)
    for done, (clip, path) in enumerate(truths.items(), 1):
        with open_video(path) as video:
            samples = read_clip_audio(path, None, len(video))
        for name, heard in shards.rows_of_samples(np.asarray(samples, np.float32)).items():
            if name not in rows:
                continue
            out = rows[name] / f"{clip}.mp4"
            out.parent.mkdir(parents=True, exist_ok=True)
            wav = scratch / "heard.wav"
            write_wav(wav, heard)
            request = engine.SynthesisRequest(
                bundle=bundle, face=path, audio=wav, out=out, face_choice=face
            )
            engine.synthesize(request)
        if progress is not None:
            progress("synthesize baseline rows", done, len(truths))
    return rows
