"""Lets the tests of this folder share reading.py, and write prepared directories of their own."""

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def write():
    """`write_prepared` of the unit tests: directory, {shard name: segments} -> directory."""
    spec = importlib.util.spec_from_file_location("unit_support", HERE.parent / "conftest.py")
    assert spec is not None and spec.loader is not None
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    return support.write_prepared
