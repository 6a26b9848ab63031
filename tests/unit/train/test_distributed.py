"""The environment of a run of several processes: nothing is guessed; and two that really start."""

import json
import os
import socket
import subprocess
import sys

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


PROCESS = """
import json, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # JAX aborts a process that stays out
import jax, numpy as np
from jax.experimental import multihost_utils
from talkface_jax.train.distributed import initialize_from_env
joined = initialize_from_env()
mine = np.array([10.0 + jax.process_index(), 1.0])
print(json.dumps({
    "joined": joined,
    "processes": jax.process_count(),
    "process": jax.process_index(),
    "devices": [jax.local_device_count(), jax.device_count()],
    "gathered": multihost_utils.process_allgather(mine).tolist(),
    "first's": multihost_utils.broadcast_one_to_all(mine).tolist(),
}))
"""


@pytest.fixture
def start():
    """Starts process `index` of `count` of a run, with two devices each."""
    started = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(index, count):
        values = {
            **dict(zip(NAMES, (f"127.0.0.1:{port}", str(count), str(index)), strict=True)),
            "TALKFACE_START_TIMEOUT": "60",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            env={**os.environ, **values},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.timeout(120)
def test_two_processes_become_one_run_and_one_of_another_set_stays_out(start):
    first = start(0, 2)
    stranger = start(2, 3)  # of a launch with another number, sent to the same coordinator
    printed, said = stranger.communicate()
    assert stranger.returncode != 0 and not printed
    assert "task=2" in said or "TALKFACE_PROCESS_ID=2" in said
    assert first.poll() is None, "the run waits on for its own"
    results = []
    for process in (first, start(1, 2)):
        printed, said = process.communicate()
        assert process.returncode == 0, said[-3000:]
        results.append(json.loads(printed.splitlines()[-1]))
    for index, result in enumerate(results):
        assert result == {
            "joined": True,
            "processes": 2,
            "process": index,
            "devices": [2, 4],
            "gathered": [[10.0, 1.0], [11.0, 1.0]],
            "first's": [10.0, 1.0],
        }
