"""Inputs of a parity case that are made, and tensors of a state_dict that are stored."""

import json

import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.interop import fill
from talkface_jax.interop.cases import Case

MADE = {"key": "input.net.x", "shape": [2, 3, 4], "scale": 2.0}


def make(folder, **note):
    manifest = {"_note": {"seed": 5, **note}, "net": {"a.weight": [2, 3]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Case(folder)


def test_made_input_is_filled_by_its_key(tmp_path):
    case = make(tmp_path, made_inputs={"net": {"x": MADE}})
    found = case.made_input("net.npz", "x", ("b", 3, "w"))
    np.testing.assert_array_equal(found, fill.tensor("input.net.x", (2, 3, 4), seed=5, scale=2.0))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], "made_inputs"),
        ({"net": []}, "made_inputs"),
        ({}, "does not say how x of net.npz is made"),
        ({"net": {"x": 3}}, "does not say how"),
        ({"net": {"x": MADE | {"key": 3}}}, "does not say how"),
        ({"net": {"x": MADE | {"shape": [2, 4, 4]}}}, r"the shape \[2, 4, 4\], not \(b, 3, w\)"),
        ({"net": {"x": MADE | {"shape": [2, 3]}}}, r"the shape \[2, 3\]"),
        ({"net": {"x": MADE | {"shape": [2, 3, "4"]}}}, "the shape"),
        ({"net": {"x": MADE | {"shape": [2**20, 3, 2**20]}}}, "the shape"),
        ({"net": {"x": MADE | {"shape": None}}}, "the shape None"),
        ({"net": {"x": MADE | {"scale": 0}}}, "a scale that is no positive number"),
        ({"net": {"x": MADE | {"scale": "1"}}}, "a scale"),
        ({"net": {"x": MADE | {"scale": None}}}, "a scale"),
    ],
)
def test_inputs_that_cannot_be_made(tmp_path, made, words):
    case = make(tmp_path, made_inputs=made)
    with pytest.raises(RecordError, match=rf"manifest\.json.*{words}.*; copy the case") as error:
        case.made_input("net.npz", "x", ("b", 3, "w"))
    assert "\n" not in str(error.value)


def test_stored_tensors_belong_to_the_state_dict(tmp_path):
    u = np.arange(4, dtype=np.float32)
    np.savez(tmp_path / "uv.npz", **{"a.weight_u": u, "other": u})
    case = make(tmp_path, stored={"net": {"uv.npz": {"a.weight_u": [4]}}})
    found = case.state_dict("net")
    assert set(found) == {"a.weight", "a.weight_u"}
    np.testing.assert_array_equal(found["a.weight_u"], u)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (3, r"manifest\.json.*stored"),
        ({"net": ["uv.npz"]}, r"manifest\.json.*stored"),
        ({"net": {"uv.npz": ["a"]}}, r"manifest\.json.*stored"),
        ({"net": {"uv.npz": {"a.weight_u": [-4]}}}, r"manifest\.json.*stored"),
        ({"net": {"../uv.npz": {"a.weight_u": [4]}}}, r"'\.\./uv\.npz', no file beside it"),
        ({"net": {"/uv.npz": {"a.weight_u": [4]}}}, "no file beside it"),
        ({"net": {"no.npz": {"a.weight_u": [4]}}}, "'no.npz', no file beside it"),
        ({"net": {"uv.npz": {"b": [4]}}}, r"uv\.npz holds no array b"),
        ({"net": {"uv.npz": {"a.weight_u": [5]}}}, r"uv\.npz holds a\.weight_u of shape \(4,\)"),
    ],
)
def test_stored_tensors_that_are_not_there(tmp_path, stored, words):
    np.savez(tmp_path / "uv.npz", **{"a.weight_u": np.zeros(4, np.float32)})
    case = make(tmp_path, stored=stored)
    with pytest.raises(RecordError, match=words) as error:
        case.state_dict("net")
    assert "\n" not in str(error.value)


def test_shapes_that_would_fill_the_memory_are_refused(tmp_path):
    case = make(tmp_path)
    manifest = {"_note": {"seed": 5}, "net": {"a.weight": [2**20, 2**20]}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordError, match=r"gives net.s a\.weight the shape"):
        Case(case.folder).state_dict("net")
