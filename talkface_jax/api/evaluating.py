"""Numbers with the baselines that they must be read against: of landmarks, and of mp4s."""

import dataclasses
import os
import pathlib
import tempfile
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
    scores,
    shards,
)
from talkface_jax.evaluate.blinks import BlinkReport
from talkface_jax.evaluate.scores import Scores
from talkface_jax.export.load import load_bundle
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
    """

    scores: Scores
    blinks: BlinkReport | None = None
    no_blinks: str = ""


def evaluate_landmarks(
    bundle: Place,
    *,
    data: Place,
    out: Place,
    split: str = "test",
    train_data: Place | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> LandmarkEvaluation:
    """Scores the landmarks that a bundle predicts for a prepared split; nothing is rendered.

    Writes `out`/scores.json and `out`/report.html; of a method that makes blinks of its own also
    blinks.json and blinks.html, the blinks against the tracked ones of the split.

    Args:
      bundle: from `export`.
      data: from `talkface prepare`.
      out: folder of the reports; made if need be.
      split: of `data`.
      train_data: prepared set from whose train split baselines learn; `data` by default.
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
    known = _known(dataset, place, train_data)
    found = landmarks.evaluate_motion(
        shards.motion_cases(dataset, chain, failures=failures, progress=progress),
        failures=failures,
        command=command,
        notes={
            "bundle": loaded.manifest.weight_id,
            "data": f"{place}, {split}",
            "unit of the intervals": "segments of at most 125 frames",
        },
    )
    scores.require_predictions(
        found.clips,
        failures=found.failures,
        noun="segment",
        remedy="give a --data and --split with faces",
    )
    report.write_report(found, folder)
    if Aspect.BLINKS not in registry.declaration(loaded.manifest.method).generates:
        return LandmarkEvaluation(found)
    try:
        made = _compare_blinks(chain, dataset, known=known, out=folder, progress=progress)
        return LandmarkEvaluation(found, made)
    except RecordError as error:
        return LandmarkEvaluation(found, no_blinks=str(error))


def _known(dataset: PreparedDataset, place: str, train_data: Place | None) -> PreparedDataset:
    """What a baseline may know, as the network does: the training data; where the set that is
    scored has none and no other is given, that set."""
    if train_data is not None:
        return open_dataset(os.fspath(train_data), "train")
    splits = {shard.split for shard in dataset.manifest.shards}
    return open_dataset(place, "train") if "train" in splits else dataset


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
      bundle: from `export`; with it, the rows of shifted audio and of no audio are synthesized too.
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
    rows = {name: scratch / name for name in (scores.SHIFTED_AUDIO, scores.NO_AUDIO)}
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
