"""The whole road through the command line, small: raw video to a scored talking mp4."""

import json

import numpy as np
import pytest

from talkface_jax.cli.main import main

MOTION = "--config=configs/iplap/motion.py:tiny"
RENDER = "--config=configs/iplap/render.py:tiny"


def _train(config, workdir, data, *overrides):
    return main(
        [
            "train",
            config,
            f"--workdir={workdir}",
            "--no-progress",
            f"--config.data.directory={data}",
            "--config.data.batch_size=2",
            "--config.data.eval_batches=1",
            *overrides,
        ]
    )


@pytest.fixture(scope="module")
def road(tmp_path_factory, repository):
    """Directories of a walked road: data, motion, render, bundle, talking.mp4."""
    root = tmp_path_factory.mktemp("road")
    patch = pytest.MonkeyPatch()
    patch.chdir(repository)
    data = root / "data"
    prepare = ["prepare", "--dataset=synthetic", "--clips=2", "--test-clips=1", "--seed=3"]
    assert main([*prepare, f"--out={data}"]) == 0
    assert _train(MOTION, root / "motion", data, "--config.train.steps=3") == 0
    # The second phase of the renderer starts at step 2, so both phases are walked.
    render = ("--config.train.steps=3", "--config.task.warmup_steps=2")
    assert _train(RENDER, root / "render", data, *render) == 0
    stages = [f"--motion={root / 'motion'}", f"--render={root / 'render'}"]
    assert main(["export", *stages, f"--out={root / 'bundle'}"]) == 0
    yield root
    patch.undo()


def _held_out(road):
    raw = road / "data" / "raw"
    metadata = json.loads((raw / "metadata.json").read_text())
    clips = [clip for clip in metadata["clips"] if clip["split"] == "test"]
    return raw / clips[0]["video"], raw / clips[0]["audio"]


def test_data_is_split_by_speaker(road):
    metadata = json.loads((road / "data" / "raw" / "metadata.json").read_text())["clips"]
    speakers = {
        split: {clip["actor"] for clip in metadata if clip["split"] == split}
        for split in ("train", "test")
    }
    texts = {
        split: {clip["text"] for clip in metadata if clip["split"] == split}
        for split in ("train", "test")
    }
    assert not speakers["train"] & speakers["test"]
    assert not texts["train"] & texts["test"]


def test_metrics_of_both_phases_are_logged(road):
    rows = [
        json.loads(line) for line in (road / "render" / "metrics.jsonl").read_text().splitlines()
    ]
    names = set().union(*rows)
    assert {"loss/renderer/warp", "loss/disc/total"} <= names
    assert all(np.isfinite(value) for row in rows for value in row.values() if value is not None)


def test_the_same_command_again_has_nothing_left_to_do(road, capsys):
    before = (road / "motion" / "metrics.jsonl").read_text()
    assert _train(MOTION, road / "motion", road / "data", "--config.train.steps=3") == 0
    assert "3 steps done" in capsys.readouterr().out
    assert (road / "motion" / "metrics.jsonl").read_text() == before


def test_another_config_in_the_same_workdir_is_refused(road, capsys):
    status = _train(MOTION, road / "motion", road / "data", "--config.optim.lr=0.5")
    error = capsys.readouterr().err
    assert status == 1
    assert "optim.lr" in error


def test_synthesize_speaks_the_whole_recording(road):
    from talkface_jax.media.probe import probe

    video, audio = _held_out(road)
    out = road / "talking.mp4"
    arguments = [
        f"--bundle={road / 'bundle'}",
        f"--face={video}",
        f"--audio={audio}",
        f"--out={out}",
    ]
    assert main(["synthesize", *arguments]) == 0
    made, source = probe(out), probe(video)
    assert made.has_audio
    assert (made.width, made.height) == (source.width, source.height)
    assert made.duration == pytest.approx(source.duration, abs=0.12)


def test_evaluate_scores_shards_and_mp4s(road):
    video, _ = _held_out(road)
    pred, truth = road / "pred", road / "truth"
    for folder in (pred, truth):
        folder.mkdir(exist_ok=True)
        (folder / "clip.mp4").write_bytes(video.read_bytes())
    bundle = f"--bundle={road / 'bundle'}"
    scored = road / "motion-scores"
    shards = ["evaluate", bundle, f"--data={road / 'data'}", f"--out={scored}"]
    assert main(shards) == 0
    rows = json.loads((scored / "scores.json").read_text())["rows"]
    assert {"model", "ground-truth", "static-mouth", "shifted-audio", "no-audio"} <= set(rows)
    # After three steps the residual is still small: about a static mouth, never a lost face.
    value = {name: row["metrics"]["lip_distance"]["value"] for name, row in rows.items()}
    assert value["ground-truth"] == 0
    assert 0.5 < value["static-mouth"] < 5
    assert 0.5 < value["model"] < 3 * value["static-mouth"]
    videos = ["evaluate", f"--pred={pred}", f"--truth={truth}", f"--out={road / 'scores'}"]
    assert main(videos) == 0
    rows = json.loads((road / "scores" / "scores.json").read_text())["rows"]
    # The prediction is the truth itself here: nothing but the tracker can differ.
    assert rows["model"]["metrics"]["lip_distance"]["value"] < 0.01
    assert rows["model"]["metrics"]["opening_correlation"]["value"] > 0.999
    assert rows["static-mouth"]["metrics"]["lip_distance"]["value"] > 0.5
    assert (road / "scores" / "report.html").stat().st_size > 10_000
