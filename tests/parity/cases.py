"""Runs parity cases (inputs and outputs of public PyTorch code) and alters copies of them."""

import json
import pathlib
import shutil

import numpy as np

from talkface_jax.interop.cases import Case
from talkface_jax.interop.suites import run_suite
from talkface_jax.methods import registry

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "iplap"


def run(folder, *files):
    """{tensor: check} of some files of an IP-LAP case."""
    suite = registry.parity_suites()["iplap", "iplap"]
    report = run_suite(Case(folder), {name: suite[name] for name in files})
    assert not report.absent
    found = {check.tensor: check for check in report.checks}
    assert len(found) == len(report.checks)
    return found


def over(checks):
    """The tensors that are over their tolerance."""
    return {name for name, check in checks.items() if not check.ok}


def copy(folder, *files):
    """Copies the manifest and the named files of the IP-LAP case into `folder`."""
    for name in ("manifest.json", *files):
        shutil.copy(FOLDER / name, folder / name)
    return folder


def change(path, **changes):
    """Applies functions to arrays of an .npz file, or to values of a JSON file, by name."""
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {k: f(values[k]) for k, f in changes.items()}))
        return
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {key: function(arrays[key]) for key, function in changes.items()}))


def first(step):
    """A change that adds `step` to the first number of an array, and to that alone."""

    def add(array):
        array = array.copy()
        array.flat[0] += step
        return array

    return add
