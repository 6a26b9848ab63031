"""`make bench TORCH_ROOT=…`: a checkout is recognised by its files."""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).parents[2] / "bench" / "code_bases.py"


@pytest.fixture(scope="module")
def code_bases():
    """The module, which is in no package."""
    spec = importlib.util.spec_from_file_location("bench_code_bases", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkout(root, base):
    for name in base.files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_every_known_code_base_is_recognised(tmp_path, code_bases):
    roots = [checkout(tmp_path / base.name, base) for base in code_bases.KNOWN]
    assert code_bases.by_code_base(roots) == dict(zip(code_bases.KNOWN, roots, strict=True))


def test_another_folder_is_refused(tmp_path, code_bases):
    root = checkout(tmp_path, code_bases.LIVEPORTRAIT)
    (root / code_bases.LIVEPORTRAIT.files[0]).unlink()
    with pytest.raises(ValueError, match=r"checkout of none of IP_LAP .*face-vid2vid .*LivePort"):
        code_bases.recognise(root)


def test_two_checkouts_of_the_same_code_are_refused(tmp_path, code_bases):
    roots = [checkout(tmp_path / name, code_bases.FACEVID2VID) for name in "ab"]
    with pytest.raises(ValueError, match=r"a and .*b are both face-vid2vid"):
        code_bases.by_code_base(roots)
