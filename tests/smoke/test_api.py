"""`talkface_jax.api` with a tiny bundle: exported, synthesized, evaluated, and nothing printed."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from talkface_jax import api, config
from talkface_jax.api import evaluating
from talkface_jax.capabilities import Aspect
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError, FaceError, TalkfaceError, WeightsError
from talkface_jax.export import load, programs
from talkface_jax.media import audio, video
from talkface_jax.methods import registry
from talkface_jax.train import initial, state


@pytest.fixture(autouse=True)
def silent(capsys):
    """Nothing is printed in any of these tests."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture(scope="module")
def stages(tmp_path_factory, tiny_bundle):
    """Working directories that hold the bundle's own weights."""
    folder, configs = tmp_path_factory.mktemp("stages"), load.load_bundle(tiny_bundle).configs
    method = registry.get_method("iplap")
    tasks = {
        stage: config.build(kind, configs[stage]) for stage, kind in method.config_classes.items()
    }
    for stage, player in {"motion": "motion", "render": "renderer"}.items():
        flat = safetensors.numpy.load_file(tiny_bundle / f"{player}.safetensors")
        experiment = ExperimentConfig("iplap", stage, tasks[stage])
        info = {"method": "iplap", "stage": stage, "lineage": {"terms": f"only for {stage}"}}
        variables = {player: programs.unflatten(flat)}
        initial.write_variables(folder / stage, experiment, variables, info)
    return {stage: folder / stage for stage in tasks}


@pytest.fixture(scope="module")
def exported(stages):
    """The bundle of these directories, with what `export` returned."""
    out = stages["motion"].parent / "bundle"
    return out, api.export(stages, out=out)


def test_export_makes_one_bundle_of_the_directories(exported, tiny_bundle):
    out, manifest = exported
    stored, origin = (load.load_bundle(path).manifest for path in (out, tiny_bundle))
    assert manifest.weight_id == stored.weight_id == origin.weight_id
    assert stored.programs == origin.programs
    terms = {stage: item["lineage"]["terms"] for stage, item in stored.lineage.items()}
    assert terms == {"motion": "only for motion", "render": "only for render"}


def test_a_stage_untrained_is_what_its_run_drew(stages, exported, tmp_path):
    out = tmp_path / "bundle"
    manifest = api.export(stages, out=out, untrained=["render"])
    assert manifest.weight_id != exported[1].weight_id
    weights, trained = (
        {
            player: safetensors.numpy.load_file(folder / f"{player}.safetensors")
            for player in ("motion", "renderer")
        }
        for folder in (out, exported[0])
    )
    for name, value in trained["motion"].items():
        np.testing.assert_array_equal(weights["motion"][name], value)
    # Another draw than the seed's, or the trained weights, would differ.
    experiment = api.load_workdir_experiment(stages["render"])
    task = registry.build_task("iplap", "render", experiment.task)
    drawn = programs.flatten(state.draw(task, seed=experiment.seed)["renderer"])
    assert set(drawn) == set(weights["renderer"]) == set(trained["renderer"])
    for name, value in drawn.items():
        np.testing.assert_array_equal(weights["renderer"][name], value)
    assert any((trained["renderer"][name] != value).any() for name, value in drawn.items())
    lineage = load.load_bundle(out).manifest.lineage
    assert lineage["render"]["untrained"] is True and "untrained" not in lineage["motion"]
    with pytest.raises(ConfigError, match="--untrained=blink is none of the stages that are exp"):
        api.export(stages, out=tmp_path / "other", untrained=["blink"])


def test_a_portrait_speaks_from_working_directories(
    stages, exported, data_dir, tmp_path, monkeypatch
):
    speech, out, told = tmp_path / "speech.wav", tmp_path / "out.mp4", []
    audio.write_wav(speech, audio.read_audio(data_dir / "obama_speech.mp4")[: 6 * 640])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    report = api.synthesize(
        {stage: str(path) for stage, path in stages.items()},
        face=str(data_dir / "astronaut.jpg"),
        audio=speech,
        out=out,
        batch=3,
        progress=lambda *call: told.append(call),
    )
    assert report.weight_id == exported[1].weight_id and report.frames == 6
    assert [call for call in told if call[0] == "render"] == [("render", 3, 6), ("render", 6, 6)]
    with video.open_video(out) as made:
        assert len(made) == 6
    assert not list(scratch.iterdir())


def test_landmarks_of_a_split(tiny_bundle, tiny_prepared, tmp_path):
    out, told = tmp_path / "scores", []
    found = api.evaluate_landmarks(
        str(tiny_bundle),
        data=tiny_prepared,
        out=out,
        command="mine",
        progress=lambda *call: told.append(call),
    )
    assert (found.blinks, found.no_blinks) == (None, "")
    stored = json.loads((out / "scores.json").read_text())
    assert set(stored["rows"]) == set(found.scores.rows) >= {"model", "silence", "static-mouth"}
    assert found.scores.rows["ground-truth"].metrics["lip_distance"].value == 0
    assert found.scores.run["data"] == f"{tiny_prepared}, test"
    assert "mine" in found.scores.run.values()
    assert ("predict held-out segments", 1, 1) in told and (
        "fit the ridge regression",
        1,
        1,
    ) in told
    assert {"ridge", "model-other-half", "static-other-half"} <= set(stored["rows"])
    assert stored["run"]["ridge regression"].startswith("fitted on 30 frames of 1 training speaker")
    # There is one speaker, so nobody else's sentence; that is said.
    reason = f"{tiny_prepared} has one speaker in split test"
    assert found.left_out == {"mismatched": reason}
    assert stored["run"]["no row mismatched"] == reason and not found.scores.failures
    with pytest.raises(TalkfaceError, match="no split 'none'"):
        api.evaluate_landmarks(tiny_bundle, data=tiny_prepared, out=out, split="none")
    with pytest.raises(WeightsError, match="not a bundle"):
        api.evaluate_landmarks(tmp_path, data=tiny_prepared, out=out)


def test_without_a_training_split_there_is_no_ridge_row(tiny_bundle, tiny_prepared, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_prepared, data)
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["shards"] = [shard for shard in manifest["shards"] if shard["split"] == "test"]
    (data / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "out"
    found = api.evaluate_landmarks(tiny_bundle, data=data, out=out)
    reason = f"{data} has no training split to fit it on"
    assert found.left_out["ridge"] == found.scores.run["no row ridge"] == reason
    assert "ridge" not in found.scores.rows and found.scores.rows["model"].clips == 1


def test_blinks_that_cannot_be_compared_leave_the_scores(
    tiny_bundle, tiny_prepared, tmp_path, monkeypatch
):
    """No old page stays that would look like this run's."""
    (tmp_path / "blinks.html").write_text("older")
    build, declaration = evaluating.engine.build_chain, evaluating.registry.declaration

    def blinking(bundle):
        chain = build(bundle)
        chain.blinks = lambda frames, *, seed: np.zeros(frames, np.float32)
        return chain

    def declared(name):
        return dataclasses.replace(declaration(name), generates=(Aspect.MOUTH, Aspect.BLINKS))

    monkeypatch.setattr(evaluating.engine, "build_chain", blinking)
    monkeypatch.setattr(evaluating.registry, "declaration", declared)
    monkeypatch.setattr(
        evaluating.shards,
        "blink_curves",
        lambda dataset: evaluating.shards.TrackedBlinks([np.zeros(25, np.float32)], ["a"]),
    )
    found = api.evaluate_landmarks(tiny_bundle, data=tiny_prepared, out=tmp_path)
    assert found.blinks is None and "no whole blink to compare with" in found.no_blinks
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["report.html", "scores.json"]


def test_videos_against_themselves(film, portrait, tmp_path):
    pred, truth, out = (tmp_path / name for name in ("pred", "truth", "out"))
    for folder in (pred, truth):
        film(folder / "clip.mp4", portrait)
    told = []
    scores = api.evaluate_videos(
        pred, truth=str(truth), out=out, progress=lambda *call: told.append(call)
    )
    assert scores.rows["model"].metrics["lip_distance"].value < 0.01
    assert (out / "report.html").is_file() and told[-1] == ("score videos", 1, 1)
    cases = [
        (FaceError, "--face=big is no choice", {"face": "big"}),
        (TalkfaceError, "is an input; name another", {"out": pred}),
        (TalkfaceError, "nowhere", {"truth": tmp_path / "nowhere"}),
    ]
    for error, words, change in cases:
        with pytest.raises(error, match=words):
            api.evaluate_videos(pred, **{"truth": truth, "out": tmp_path / "other", **change})
    assert not (tmp_path / "other").exists()
