"""The public latent-keypoint generators against their official code.

The light files lie here. The others need gigabytes and minutes: slow, and only with
TALKFACE_PARITY=DIR, a folder of whole cases (`facevid2vid`, `liveportrait`).
"""

import os
import pathlib
import shutil

import cases
import numpy as np
import pytest

from talkface_jax.interop.cases import Case
from talkface_jax.interop.suites import find_suite, run_suite
from talkface_jax.methods import registry

VARIABLE = "TALKFACE_PARITY"
SUITES = {code: suite for (_, code), suite in registry.parity_suites("emoconv").items()}
LIGHT = {
    "facevid2vid": ("he_estimator.npz",),
    "liveportrait": ("motion_extractor.npz", "stitching_retargeting.npz"),
}
QUICK = [(code, file) for code, files in LIGHT.items() for file in files]


def run(folder, code, *files):
    """{file/tensor: check} of some files of a case."""
    report = run_suite(Case(folder), {file: SUITES[code][file] for file in files})
    assert not report.absent
    return {f"{check.file}/{check.tensor}": check for check in report.checks}


def stored(folder, file):
    """The outputs that a file holds."""
    with np.load(folder / file) as arrays:
        return {f"{file}/{name}" for name in arrays.files if not name.startswith("in_")}


@pytest.mark.parametrize(("code", "file"), QUICK)
def test_light_files(code, file):
    found = run(cases.HERE / code, code, file)
    assert set(found) == stored(cases.HERE / code, file)
    for check in found.values():
        assert check.error <= check.tolerance, check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "file"), [(code, file) for code, suite in SUITES.items() for file in suite]
)
def test_all_files(code, file):
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"{VARIABLE} names no folder of cases")
    folder = pathlib.Path(given) / code
    found = run(folder, code, file)
    assert stored(folder, file) <= set(found)
    for check in found.values():
        assert check.error <= check.tolerance, check


@pytest.mark.parametrize("code", LIGHT)
def test_the_suite_is_found_by_the_files(code):
    assert find_suite(Case(cases.HERE / code), registry.parity_suites()) == ("emoconv", code)


def test_outputs_that_differ_are_named(tmp_path):
    file = "stitching_retargeting.npz"
    for name in ("manifest.json", file):
        shutil.copy(cases.HERE / "liveportrait" / name, tmp_path / name)
    cases.change(tmp_path / file, eye_delta=cases.first(2e-4), stitch_delta=cases.first(-2e-4))
    found = run(tmp_path, "liveportrait", file)
    assert cases.over(found) == {f"{file}/eye_delta", f"{file}/stitch_delta"}
