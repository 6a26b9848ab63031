"""Cases in a folder: what is read, what is refused, and how a suite is run."""

import json
import math

import jax
import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.interop.cases import Case, Check, compare
from talkface_jax.interop.suites import run_suite

SHAPES = {"x": ("b", "t", 2), "y": ("b*t",)}


def make(folder, *, manifest=None, **arrays):
    """A case with one file, arrays.npz."""
    values = {"_note": {"seed": 5}, "net": {"a.weight": [2, 3]}}
    (folder / "manifest.json").write_text(json.dumps(values | (manifest or {})))
    if arrays:
        np.savez(folder / "arrays.npz", **arrays)
    return folder


def test_arrays_of_any_size_that_agree(tmp_path):
    x, y = np.zeros((2, 3, 2), np.float32), np.arange(6)
    case = Case(make(tmp_path, x=x, y=y, other=np.zeros(1)))
    found = case.arrays("arrays.npz", SHAPES, optional={"z": (1,)})
    assert set(found) == {"x", "y"}
    np.testing.assert_array_equal(found["y"], y)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 3, 2))}, "no array y"),
        ({"x": np.zeros((2, 3, 3)), "y": np.zeros(6)}, r"x of shape \(2, 3, 3\), not \(b, t, 2\)"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(6)}, r"x of shape \(2, 3\)"),
        ({"x": np.zeros((2, 3, 2)), "y": np.zeros(5)}, r"y of shape \(5,\).*b = 2, t = 3"),
        ({"x": np.zeros((0, 3, 2)), "y": np.zeros(0)}, r"x of shape \(0, 3, 2\)"),
        ({"x": np.zeros((1, 1, 2)), "y": np.array(["?"])}, "y as <U1, which is not numbers"),
        ({"x": np.zeros((1, 1, 2)), "y": np.array([{}])}, "damaged"),
        (
            {"x": np.zeros((2, 3, 2)), "y": np.zeros(6), "z": np.zeros(2)},
            r"z of shape \(2,\), not \(1\)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, arrays, words):
    case = Case(make(tmp_path, **arrays))
    with pytest.raises(RecordError, match=rf"arrays\.npz.*{words}") as error:
        case.arrays("arrays.npz", SHAPES, optional={"z": (1,)})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "single", "empty"])
def test_damaged_files_are_refused(tmp_path, damage):
    rng = np.random.default_rng(0)
    folder = make(tmp_path, x=rng.normal(size=(2, 3, 2)), y=rng.normal(size=6))
    path = folder / "arrays.npz"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[200] ^= 255
    contents = {"cut": data[: len(data) // 2], "flipped": data, "text": b"no arrays", "empty": b""}
    if damage == "single":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(RecordError, match=r"arrays\.npz"):
        Case(folder).arrays("arrays.npz", SHAPES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "seed"),
        ('{"_note": 3}', "seed"),
        ('{"_note": {"seed": "3"}}', "seed"),
        ('{"_note": {"seed": -3}}', "seed"),
        ('{"_note": {"seed": true}}', "seed"),
        ('{"_note": {"seed": 3, "scales": 0.1}}', "scales"),
    ],
)
def test_manifests_without_a_seed_are_refused(tmp_path, text, words):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordError, match=rf"manifest\.json.*{words}"):
        Case(tmp_path)


def test_folders_without_a_manifest_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"has no manifest\.json"):
        Case(tmp_path)
    with pytest.raises(RecordError, match="none is not a folder"):
        Case(tmp_path / "none")


@pytest.mark.parametrize("scales", [{"a.weight": 0.01}, {"net": {"a.weight": 0.01}}])
def test_scales_hold_for_all_networks_or_for_one(tmp_path, scales):
    other = {"a.weight": [2, 3]}
    note = {"seed": 5, "scales": scales}
    case = Case(make(tmp_path, manifest={"_note": note, "other": other}))
    assert 0 < np.abs(case.state_dict("net")["a.weight"]).max() < 0.04
    scaled = "net" not in scales
    assert (np.abs(case.state_dict("other")["a.weight"]).max() < 0.04) == scaled


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"net": {}}, "names no keys and shapes of net"),
        ({"net": {"a.weight": [2, "3"]}}, "a.weight"),
        ({"net": {"a.weight": [2, -3]}}, "a.weight"),
        ({"net": {"a.weight": 2}}, "a.weight"),
        ({"_note": {"seed": 5, "scales": {"a.weight": "0.1"}}}, "scales"),
        ({"_note": {"seed": 5, "scales": {"net": {"a.weight": -0.1}}}}, "scales"),
        ({"_note": {"seed": 5, "scales": {"net": [0.1]}}}, "scales"),
    ],
)
def test_networks_that_cannot_be_filled_are_refused(tmp_path, manifest, words):
    case = Case(make(tmp_path, manifest=manifest))
    with pytest.raises(RecordError, match=rf"manifest\.json.*{words}"):
        case.state_dict("net")


@pytest.mark.parametrize("values", [{"a": "1"}, {"a": None}, {"a": True}, {"a": [1]}])
def test_json_of_anything_but_numbers_is_refused(tmp_path, values):
    case = Case(make(tmp_path))
    (tmp_path / "norms.json").write_text(json.dumps({"b": 2} | values))
    with pytest.raises(RecordError, match=r"norms\.json.* for a, "):
        case.numbers("norms.json")


@pytest.mark.parametrize(
    ("error", "ok"), [(0.0, True), (1e-3, True), (1.1e-3, False), (math.nan, False)]
)
def test_only_a_number_within_the_tolerance_passes(error, ok):
    assert Check("file", "tensor", error, 1e-3).ok is ok


def test_comparison_takes_the_largest_difference_in_float64():
    theirs = np.array([1.0, -2.0, 16777217.0])
    check = compare("file", "tensor", np.array([1.5, -2.25, 16777218.0]), theirs, tolerance=1e-3)
    assert check.error == 1.0
    nan = compare("file", "tensor", np.array([np.nan, 1]), np.ones(2), tolerance=1e-3)
    assert math.isnan(nan.error)


def test_comparison_of_different_shapes_is_refused():
    """And not broadcast."""
    with pytest.raises(RecordError, match=r"file holds tensor of shape \(2, 1\)"):
        compare("file", "tensor", np.zeros((2, 2)), np.zeros((2, 1)), tolerance=1)


def test_suite_runs_what_is_there_and_names_the_rest(tmp_path):
    case = Case(make(tmp_path, x=np.zeros(1)))
    seen = []

    def check(case):
        seen.append(jax.config.jax_default_matmul_precision)
        yield Check("arrays.npz", "x", 0.0, 1.0)
        yield Check("arrays.npz", "y", 2.0, 1.0)

    steps = []
    report = run_suite(
        case,
        {"first.npz": check, "arrays.npz": check, "last.npz": check},
        progress=lambda *step: steps.append(step),
    )
    assert [item.tensor for item in report.checks] == ["x", "y"]
    assert [item.tensor for item in report.over] == ["y"]
    assert report.absent == ("first.npz", "last.npz")
    assert seen == ["highest"]
    assert jax.config.jax_default_matmul_precision is None
    assert steps == [("parity", 0, 1), ("parity", 1, 1)]


def test_case_of_another_suite_is_refused(tmp_path):
    case = Case(make(tmp_path, x=np.zeros(1)))
    with pytest.raises(RecordError, match=r"holds none of first\.npz; give"):
        run_suite(case, {"first.npz": lambda _: []})
