"""The whole road through the command line, small: raw video to a scored talking mp4."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.capabilities import Aspect, Driven
from talkface_jax.cli.main import main
from talkface_jax.methods import registry

SHORT = {"warmup_steps": 2}
"""Task fields that would keep three steps within the first phase of a stage."""
SPOKEN = 19_200
"""Samples of the recording that a face speaks, which is shorter than the face's video."""

pytestmark = pytest.mark.timeout(900)
"""Of the test that trains a method's stages, which compiles for minutes on a slow machine."""


def _short(method, stage):
    """The stage's tiny config and what makes it a matter of seconds."""
    known = {
        field.name for field in dataclasses.fields(registry.task_class(method, stage).config_class)
    }
    shorter = [f"--config.task.{name}={v}" for name, v in SHORT.items() if name in known]
    return [f"--config=configs/{method}/{stage}.py:tiny", "--config.train.steps=3", *shorter]


def _train(config, workdir, data, *overrides):
    return main(
        [
            "train",
            *config,
            f"--workdir={workdir}",
            "--no-progress",
            f"--config.data.directory={data}",
            "--config.data.batch_size=2",
            "--config.data.eval_batches=1",
            *overrides,
        ]
    )


@pytest.fixture(scope="module")
def data(synthetic_heads, repository):
    """A prepared set of synthetic heads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        yield synthetic_heads


@dataclasses.dataclass(frozen=True)
class Road:
    """A walked road: the method, its stages' working directories and its bundle below `root`."""

    method: str
    root: pathlib.Path
    data: pathlib.Path

    @property
    def stages(self):
        return tuple(registry.declaration(self.method).stages)


@pytest.fixture(scope="module", params=registry.methods())
def road(request, tmp_path_factory, data):
    """Every stage trained for three steps, and exported."""
    walked = Road(request.param, tmp_path_factory.mktemp(request.param), data)
    for stage in walked.stages:
        assert _train(_short(walked.method, stage), walked.root / stage, data) == 0
    stages = [f"--{stage}={walked.root / stage}" for stage in walked.stages]
    assert main(["export", *stages, f"--out={walked.root / 'bundle'}"]) == 0
    return walked


def _require_speech(road):
    if Driven.AUDIO not in registry.declaration(road.method).driven_by:
        pytest.skip(f"speech does not drive {road.method}")


def _held_out(data):
    raw = data / "raw"
    metadata = json.loads((raw / "metadata.json").read_text())
    clips = [clip for clip in metadata["clips"] if clip["split"] == "test"]
    return raw / clips[0]["video"], raw / clips[0]["audio"]


def test_data_is_split_by_speaker(data):
    metadata = json.loads((data / "raw" / "metadata.json").read_text())["clips"]
    speakers = {
        split: {clip["actor"] for clip in metadata if clip["split"] == split}
        for split in ("train", "val", "test")
    }
    texts = {
        split: {clip["text"] for clip in metadata if clip["split"] == split}
        for split in ("train", "val", "test")
    }
    for found in (speakers, texts):
        assert all(found.values())
        assert len(set.union(*found.values())) == sum(map(len, found.values()))


def test_losses_of_every_player_are_logged_in_every_phase(road):
    for stage in road.stages:
        lines = (road.root / stage / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        names = set().union(*rows)
        config = api.load_workdir_experiment(road.root / stage)
        task = registry.build_task(road.method, stage, config.task)
        active = [item for item in task.objectives if any(item.active(k) for k in range(3))]
        assert {player for item in active for player in item.players} == set(task.nets), stage
        assert {f"loss/{item.name}/total" for item in active} <= names
        assert all(
            np.isfinite(value) for row in rows for value in row.values() if value is not None
        )


def test_the_same_command_again_has_nothing_left_to_do(road, capsys):
    stage = road.stages[0]
    before = (road.root / stage / "metrics.jsonl").read_text()
    assert _train(_short(road.method, stage), road.root / stage, road.data) == 0
    assert "3 steps done" in capsys.readouterr().out
    assert (road.root / stage / "metrics.jsonl").read_text() == before


def test_another_config_in_the_same_workdir_is_refused(road, capsys):
    stage = road.stages[0]
    config = _short(road.method, stage)
    status = _train(config, road.root / stage, road.data, "--config.optim.lr=0.5")
    error = capsys.readouterr().err
    assert status == 1
    assert "optim.lr" in error


def test_synthesize_follows_the_whole_video(road):
    from talkface_jax.media.probe import probe

    if Driven.VIDEO not in registry.declaration(road.method).driven_by:
        pytest.skip(f"no video drives {road.method}")
    video, audio = _held_out(road.data)
    out = road.root / "following.mp4"
    arguments = [f"--bundle={road.root / 'bundle'}", f"--face={video}", f"--out={out}"]
    assert main(["synthesize", *arguments, f"--driver={video}"]) == 0
    made, source = probe(out), probe(video)
    assert made.has_audio == source.has_audio
    assert (made.width, made.height) == (source.width, source.height)
    assert made.duration == pytest.approx(source.duration, abs=0.05)
    # Beside a driver a recording is only heard.
    assert main(["synthesize", *arguments, f"--driver={video}", f"--audio={audio}"]) == 0
    assert probe(out).has_audio


def test_what_drives_a_method_is_told_where_something_else_is_given(road, refused):
    video, audio = _held_out(road.data)
    others = {Driven.AUDIO: f"--driver={video}", Driven.VIDEO: f"--audio={audio}"}
    for drive, other in others.items():
        if registry.declaration(road.method).driven_by != (drive,):
            continue
        out = road.root / "refused.mp4"
        arguments = [f"--bundle={road.root / 'bundle'}", f"--face={video}", f"--out={out}", other]
        assert f"{road.method} is driven by a" in refused("synthesize", *arguments)
        assert not out.exists()


def test_synthesize_speaks_the_whole_recording(road):
    from talkface_jax.media.audio import read_audio, write_wav
    from talkface_jax.media.probe import probe

    _require_speech(road)
    video, audio = _held_out(road.data)
    out, heard = road.root / "talking.mp4", road.root / "heard.wav"
    write_wav(heard, read_audio(audio)[:SPOKEN])
    arguments = [
        f"--bundle={road.root / 'bundle'}",
        f"--face={video}",
        f"--audio={heard}",
        f"--out={out}",
    ]
    assert main(["synthesize", *arguments]) == 0
    made, source = probe(out), probe(video)
    assert made.has_audio
    assert (made.width, made.height) == (source.width, source.height)
    assert made.duration == pytest.approx(SPOKEN / 16_000, abs=0.05)
    assert made.duration < source.duration


def test_evaluate_scores_the_landmarks_of_shards(road):
    _require_speech(road)
    scored = road.root / "motion-scores"
    bundle = f"--bundle={road.root / 'bundle'}"
    assert main(["evaluate", bundle, f"--data={road.data}", f"--out={scored}"]) == 0
    rows = json.loads((scored / "scores.json").read_text())["rows"]
    assert {"model", "ground-truth", "static-mouth", "shifted-audio", "silence"} <= set(rows)
    # After three steps the motion is still small: about a static mouth, never a lost face.
    value = {name: row["metrics"]["lip_distance"]["value"] for name, row in rows.items()}
    assert value["ground-truth"] == 0
    assert 0.5 < value["static-mouth"] < 5
    assert 0.5 < value["model"] < 3 * value["static-mouth"]
    makes_blinks = Aspect.BLINKS in registry.declaration(road.method).generates
    assert (scored / "blinks.json").is_file() == makes_blinks


def test_evaluate_scores_mp4s(data, tmp_path):
    video, _ = _held_out(data)
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    for folder in (pred, truth):
        folder.mkdir()
        (folder / "clip.mp4").write_bytes(video.read_bytes())
    out = tmp_path / "scores"
    assert main(["evaluate", f"--pred={pred}", f"--truth={truth}", f"--out={out}"]) == 0
    rows = json.loads((out / "scores.json").read_text())["rows"]
    # The prediction is the truth itself here: nothing but the tracker can differ.
    assert rows["model"]["metrics"]["lip_distance"]["value"] < 0.01
    assert rows["model"]["metrics"]["opening_correlation"]["value"] > 0.999
    assert rows["static-mouth"]["metrics"]["lip_distance"]["value"] > 0.5
    assert (out / "report.html").stat().st_size > 10_000
