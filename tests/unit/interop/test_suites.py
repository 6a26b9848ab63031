"""Which suite a parity case belongs to."""

import json

import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.interop.cases import Case
from talkface_jax.interop.suites import find_suite
from talkface_jax.methods import registry

SUITES = {
    "one": dict.fromkeys(("a.npz", "b.npz", "c.npz")),
    "two": dict.fromkeys(("c.npz", "d.npz")),
}


@pytest.fixture
def case(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"_note": {"seed": 1}}))
    return Case(tmp_path)


@pytest.mark.parametrize(
    ("files", "found"),
    [("a", "one"), ("d", "two"), ("cd", "two"), ("abcd", "one"), ("bc", "one")],
)
def test_the_suite_with_most_of_its_files_there(case, files, found):
    for name in files:
        np.savez(case.folder / f"{name}.npz", x=np.zeros(1))
    assert find_suite(case, SUITES) == found


def test_a_case_of_none_and_one_of_several(case):
    with pytest.raises(RecordError, match=r"holds none of a\.npz, b\.npz, c\.npz, d\.npz; give"):
        find_suite(case, SUITES)
    np.savez(case.folder / "c.npz", x=np.zeros(1))
    with pytest.raises(RecordError, match="as many files of one suite as of another; leave"):
        find_suite(case, SUITES)
    assert find_suite(case, {"two": SUITES["two"]}) == "two"


def test_suites_of_the_methods():
    known = registry.parity_suites()
    assert set(known) == {
        ("iplap", "iplap"),
        ("emoconv", "facevid2vid"),
        ("emoconv", "liveportrait"),
    }
    assert set(registry.parity_suites("emoconv")) == {key for key in known if key[0] == "emoconv"}
    for suite in known.values():
        assert suite and all(map(callable, suite.values()))
