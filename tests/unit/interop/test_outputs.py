"""All outputs of a parity case: strided, with mean and deviation, and the manifests that say so."""

import json

import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.interop.cases import Case
from talkface_jax.interop.outputs import compare_outputs

FULL = np.random.default_rng(0).normal(2.0, 3.0, (2, 5, 7)).astype(np.float32)
WHOLE = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
MOMENTS = np.array([FULL.mean(dtype=np.float64), FULL.std(dtype=np.float64)])


def make(folder, *, note=None, **changes):
    """A case with one file, net.npz, of a strided and a whole output."""
    values = {"seed": 5, "strides": {"net": {"full": [1, 2, 3]}}} | (note or {})
    (folder / "manifest.json").write_text(json.dumps({"_note": values}))
    arrays = {
        "full": FULL[:, ::2, ::3],
        "full_mean_std": MOMENTS,
        "whole": WHOLE,
        "in_x": np.zeros(2, np.float32),
    }
    np.savez(folder / "net.npz", **(arrays | changes))
    return Case(folder)


def checks(case, full=FULL, whole=WHOLE, tolerances=None):
    found = {"full": full, "whole": whole}
    items = compare_outputs(case, "net.npz", found, tolerances=tolerances or {})
    return {item.tensor: item for item in items}


def test_equal_outputs_pass_within_a_thousandth_of_their_deviation(tmp_path):
    found = checks(make(tmp_path))
    assert list(found) == ["full", "full_mean_std", "whole"]
    assert all(item.ok and item.error < 1e-6 for item in found.values())
    assert found["full"].tolerance == pytest.approx(1e-3 * MOMENTS[1])
    assert found["whole"].tolerance == pytest.approx(1e-3 * WHOLE.std())


def test_tolerances_by_name(tmp_path):
    found = checks(make(tmp_path), whole=WHOLE + 0.3, tolerances={"whole": 0.5})
    assert found["whole"].tolerance == 0.5 and found["whole"].ok


def test_what_differs_is_named_also_between_the_stored_numbers(tmp_path):
    case = make(tmp_path)
    other = FULL.copy()
    other[1, 2, 3] += 1
    assert {n for n, item in checks(case, full=other).items() if not item.ok} == {
        "full",
        "full_mean_std",
    }
    other = FULL.copy()
    other[:, 1::2] += 1
    assert {n for n, item in checks(case, full=other).items() if not item.ok} == {"full_mean_std"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"full": FULL}, "holds an unknown output, whole"),
        ({"full": FULL, "whole": WHOLE, "more": WHOLE}, "lacks more"),
        ({"full": FULL[:1], "whole": WHOLE}, r"full of shape \(2, 3, 3\).*\(1, 3, 3\)"),
        ({"full": FULL[0], "whole": WHOLE}, "strides of 3 axes, but it has 2"),
    ],
)
def test_outputs_that_are_not_those_of_the_network(tmp_path, found, words):
    case = make(tmp_path)
    with pytest.raises(RecordError, match=rf"net\.npz.*{words}|{words}"):
        list(compare_outputs(case, "net.npz", found, tolerances={}))


@pytest.mark.parametrize(
    ("note", "changes", "words"),
    [
        ({"strides": 3}, {}, r"manifest\.json.*strides"),
        ({"strides": {"net": [1]}}, {}, r"manifest\.json.*strides"),
        *(
            ({"strides": {"net": {"full": value}}}, {}, r"manifest\.json gives full.*strides")
            for value in ([1, 2], [1, 0, 3], [1, -1, 3], [1, 2.0, 3], [True, 2, 3], "123", {}, 7)
        ),
        ({}, {"full_mean_std": np.zeros(3)}, r"net\.npz holds no mean and deviation of full"),
        ({}, {"full_mean_std": np.array(["a", "b"])}, r"net\.npz holds full_mean_std as <U1"),
        ({}, {"whole": np.array(["a"])}, r"net\.npz holds whole as <U1"),
        ({}, {"whole": np.zeros((0, 2))}, r"net\.npz holds whole without numbers"),
    ],
)
def test_files_and_manifests_that_cannot_be_used(tmp_path, note, changes, words):
    case = make(tmp_path, note=note, **changes)
    with pytest.raises(RecordError, match=rf"{words}.*; copy the case again") as error:
        case.outputs("net.npz")
    assert "\n" not in str(error.value)


def test_strided_output_without_its_mean_and_deviation(tmp_path):
    case = make(tmp_path)
    np.savez(tmp_path / "net.npz", full=FULL[:, ::2, ::3])
    with pytest.raises(RecordError, match=r"net\.npz holds no array full_mean_std"):
        case.outputs("net.npz")
