"""Weight files of made-up content."""

import pytest

from tests.helpers.torch_zip import TorchZip


@pytest.fixture(scope="session")
def torch_zip():
    return TorchZip
