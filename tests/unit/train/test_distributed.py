"""The environment of a run of several processes: nothing is guessed."""

import socket

import pytest

from talkface_jax.errors import ConfigError, TalkfaceError
from talkface_jax.train.distributed import initialize_from_env

NAMES = ("TALKFACE_COORDINATOR", "TALKFACE_NUM_PROCESSES", "TALKFACE_PROCESS_ID")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_variables_it_is_one_process():
    assert initialize_from_env() is False


@pytest.mark.parametrize("missing", NAMES)
def test_incomplete_environment_names_what_is_missing(monkeypatch, missing):
    for name, value in zip(NAMES, ("localhost:1", "2", "1"), strict=True):
        if name != missing:
            monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"but not {missing}; set all three"):
        initialize_from_env()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("localhost:1", "2", "2"), "TALKFACE_PROCESS_ID=2 is not one of"),
        (("localhost:1", "two", "0"), "TALKFACE_NUM_PROCESSES must be a whole number, not 'two'"),
        (("localhost", "2", "1"), "must be host:port, not 'localhost'"),
    ],
)
def test_wrong_values_are_named(monkeypatch, values, message):
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        initialize_from_env()


def test_absent_coordinator_is_an_error_not_an_abort(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
    for name, value in zip(NAMES, (f"localhost:{port}", "2", "1"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TALKFACE_START_TIMEOUT", "0")
    with pytest.raises(TalkfaceError, match=f"no coordinator answers at localhost:{port}"):
        initialize_from_env()
