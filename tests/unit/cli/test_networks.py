"""Flags that say which networks a command takes: synthesize, export and train."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.api import exporting
from talkface_jax.cli import main as cli
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import ConfigError
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.synthesize import run as engine
from talkface_jax.train.workdir import prepare_workdir


@pytest.fixture
def stages(tmp_path):
    """Working directories without checkpoints."""
    for stage, task in (("motion", MotionConfig()), ("render", RenderConfig())):
        prepare_workdir(tmp_path / stage, ExperimentConfig("iplap", stage, task))
    return {stage: tmp_path / stage for stage in ("motion", "render")}


@pytest.mark.parametrize(
    "networks",
    [
        (),
        ("--bundle=b", "--motion-workdir=m"),
        ("--bundle=b", "--render-workdir=r"),
        ("--bundle=b", "--motion-workdir=m", "--render-workdir=r"),
    ],
)
def test_exactly_one_form_of_networks(networks, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["synthesize", *networks, "--face=f.mp4", "--audio=a.wav", "--out=o.mp4"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert "either --bundle=DIR, or the working directory of every stage" in error


def test_export_needs_a_stage(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", "--out=o"])
    assert stop.value.code == 2
    assert "give the working directory of every stage" in capsys.readouterr().err


def test_a_missing_stage_is_named(stages, tmp_path):
    with pytest.raises(
        ConfigError,
        match="iplap has the stages motion, render; give a working directory of render too",
    ):
        exporting.export({"motion": stages["motion"]}, out=tmp_path / "bundle")


@pytest.mark.parametrize("form", ["bundle", "stages"])
def test_the_bundle_reaches_the_engine_and_a_made_one_is_thrown_away(
    form, monkeypatch, tmp_path, capsys
):
    seen, made = [], []

    def export(workdirs, *, out):
        made.append((dict(workdirs), out))
        out.mkdir()

    def run(request, *, progress):
        seen.append((request, request.bundle.is_dir()))
        return "done"

    monkeypatch.setattr(exporting, "export", export)
    monkeypatch.setattr(engine, "synthesize", run)
    workdirs = ["--motion-workdir=m", "--render-workdir=r", "--render-workdir=s"]
    given = {"bundle": ["--bundle=b"], "stages": workdirs}[form]
    rest = ["--face=f.mp4", "--audio=a.wav", "--out=o.mp4", "--references=3"]
    assert cli.main(["synthesize", *given, *rest]) == 0
    ((request, existed),) = seen
    assert (request.controls, request.mark) == ({"references": "3"}, "visible")
    assert str(request.face) == "f.mp4"
    if form == "bundle":
        assert str(request.bundle) == "b" and not made
    else:
        ((workdirs, out),) = made
        assert {name: [str(path) for path in paths] for name, paths in workdirs.items()} == {
            "motion": ["m"],
            "render": ["r", "s"],
        }
        assert request.bundle == out and existed and not out.parent.exists()
    assert "done" in capsys.readouterr().out


def test_stages_that_do_not_belong_together(stages, tmp_path):
    swapped = {"motion": stages["render"], "render": stages["motion"]}
    with pytest.raises(
        ConfigError, match=r"render holds a render stage; give it as the render stage"
    ):
        exporting.export(swapped, out=tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"none/config\.json is missing"):
        exporting.export({**stages, "render": tmp_path / "none"}, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_stages_of_two_methods(stages, tmp_path, monkeypatch):
    load = exporting.load_workdir_experiment

    def other(workdir):
        found = load(workdir)
        other = dataclasses.replace(found, method="sinha2020")
        return other if workdir.name == "render" else found

    monkeypatch.setattr(exporting, "load_workdir_experiment", other)
    with pytest.raises(ConfigError, match=r"render is of method sinha2020, but .* of iplap; give"):
        exporting.export(stages, out=tmp_path / "bundle")


@pytest.fixture
def trained(monkeypatch):
    """The configs that training was asked for."""
    from talkface_jax.train import loop

    asked = []

    def train(task, config, *, workdir, source, progress, measured):
        asked.append(config)
        return loop.TrainResult(config.train.steps, {"eval/l1": np.float32(0.5)}, workdir)

    monkeypatch.setattr(loop, "train", train)
    return asked


def test_init_from_goes_behind_the_configs_own(trained, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    command = ["train", "--config=configs/iplap/motion.py:tiny", f"--workdir={tmp_path / 'w'}"]
    assert cli.main(command) == 0
    assert cli.main([*command, "--init-from=a", "--init-from=b/c"]) == 0
    assert cli.main([*command, "--config.train.init_from=('x',)", "--init-from=a"]) == 0
    places = [config.train.init_from for config in trained]
    assert places == [(), ("a", "b/c"), ("x", "a")]


def test_init_from_a_directory_that_is_not_there(prepared, repository, tmp_path, capsys):
    command = ["train", f"--config={repository}/configs/iplap/motion.py:tiny", "--no-progress"]
    place = [f"--workdir={tmp_path / 'w'}", f"--config.data.directory={prepared}"]
    place.append("--config.data.eval_split=test")
    assert cli.main([*command, *place, f"--init-from={tmp_path / 'gone'}"]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'gone'}/config.json is missing" in error and error.count("\n") == 1
    assert not (tmp_path / "w").exists()
