"""What an extra means is read from metadata; a missing package is one sentence with its remedy."""

import importlib.metadata
import importlib.util

import pytest

from talkface_jax import extras
from talkface_jax.errors import PackageError

LINES = [
    "numpy>=2.1",
    'av<20,>=18.1; extra == "synthesize"',
    'pillow>=11; extra == "synthesize"',
    "pillow>=11 ; extra == 'train'",
    'protobuf>=5.29; extra == "train"',
    'tensorboardX>=2.6.4; python_version >= "3.11" and extra == "train"',
    'talkface-jax[beam, synthesize]; extra == "prepare"',
    'talkface_jax[prepare]; extra == "beam"',
    'apache-beam==2.77; extra == "beam"',
    'jax[cuda12]>=0.10.2; extra == "cuda"',
]


@pytest.fixture(autouse=True)
def metadata(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: LINES)


@pytest.fixture
def lacking(monkeypatch):
    """Makes these modules impossible to find."""
    real = importlib.util.find_spec

    def lack(*modules):
        def find_spec(name):
            return None if name in modules else real(name)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return lack


def test_packages_of_an_extra_and_of_those_that_it_includes():
    assert extras.packages(extras.BASE) == ("numpy",)
    assert extras.packages("synthesize") == ("av", "pillow")
    assert extras.packages("train") == ("pillow", "protobuf", "tensorboardX")
    # Extras that include each other come to an end.
    assert extras.packages("prepare") == extras.packages("beam") == ("apache-beam", "av", "pillow")
    assert extras.packages("cuda") == ("jax",)
    assert extras.packages("unheard-of") == ()


def test_nothing_is_known_of_a_package_that_is_not_installed(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert extras.packages("train") == extras.packages(extras.BASE) == ()
    extras.require("train")


@pytest.mark.parametrize(
    ("package", "there"),
    [
        ("numpy", True),
        ("opencv-python-headless", True),
        ("google-crc32c", True),
        ("protobuf", True),
        ("orbax-checkpoint", True),
        ("no-such-package-of-ours", False),
    ],
)
def test_packages_are_found_by_their_modules(package, there):
    assert extras.is_installed(package) == there


def test_a_folder_without_code_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "speakers").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("speakers") is not None
    assert not extras.is_installed("speakers")


def test_one_and_many_missing_packages_are_one_sentence(lacking):
    lacking("av")
    assert extras.missing("synthesize") == ("av",)
    extras.require("train")
    with pytest.raises(PackageError) as caught:
        extras.require("train", "synthesize")
    line = "pip install 'talkface-jax[synthesize]'"
    assert str(caught.value) == f"the package av is not installed; {line}"
    lacking("av", "PIL", "apache_beam")
    with pytest.raises(PackageError, match=r"^the packages apache-beam, av, pillow are not "):
        extras.require("prepare")
    assert extras.listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("module", "absent", "preferred", "line"),
    [
        ("PIL", "PIL", (), "pip install 'talkface-jax[synthesize]'"),
        ("PIL.Image", "PIL", ("train",), "pip install 'talkface-jax[train]'"),
        ("av", "av", ("train",), "pip install 'talkface-jax[synthesize]'"),
        ("google", "google.protobuf", (), "pip install 'talkface-jax[train]'"),
        ("google.protobuf", "google.protobuf", (), "pip install 'talkface-jax[train]'"),
        ("numpy", "numpy", (), "pip install talkface-jax"),
    ],
)
def test_an_import_that_fails_names_the_extra(lacking, module, absent, preferred, line):
    lacking(absent)
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    explained = extras.explain(error, preferred=preferred)
    assert explained is not None
    assert str(explained).endswith(f" is not installed; {line}")


@pytest.mark.parametrize(
    "module", ["talkface_jax.nowhere", "no_such_module", "PIL.NoSuchPart", "googly", None]
)
def test_other_modules_that_are_not_found_are_bugs(module):
    assert extras.explain(ModuleNotFoundError("no module", name=module)) is None
