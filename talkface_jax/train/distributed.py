"""Joining several processes into one run, by environment variables that the launch scripts set."""

import os
import socket
import time

from talkface_jax.errors import ConfigError, TalkfaceError

COORDINATOR = "TALKFACE_COORDINATOR"
PROCESSES = "TALKFACE_NUM_PROCESSES"
PROCESS = "TALKFACE_PROCESS_ID"
TIMEOUT = "TALKFACE_START_TIMEOUT"
AUTOMATIC = "auto"


def initialize_from_env() -> bool:
    """Joins the run that the environment describes; does nothing where it describes none.

    `TALKFACE_COORDINATOR` (host:port of process 0), `TALKFACE_NUM_PROCESSES` and
    `TALKFACE_PROCESS_ID` belong together; `TALKFACE_COORDINATOR=auto` alone leaves all three to JAX
    (SLURM, TPU pods, Kubernetes).
    `TALKFACE_START_TIMEOUT` is in seconds (300).

    Returns:
      Whether this process is part of a run of several processes.

    Raises:
      ConfigError: a variable is missing or wrong.
      TalkfaceError: the coordinator does not answer in time, or the start fails.
    """
    values = {name: os.environ.get(name, "") for name in (COORDINATOR, PROCESSES, PROCESS)}
    if not any(values.values()):
        return False
    import jax

    if values[COORDINATOR] == AUTOMATIC:
        _start(jax, {})
        return True
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise ConfigError(
            f"the environment sets {' and '.join(n for n, v in values.items() if v)} but not "
            f"{' and '.join(missing)}; set all three, or start the run with launch/local.py"
        )
    count, index = _integer(PROCESSES), _integer(PROCESS)
    if count < 1 or not 0 <= index < count:
        raise ConfigError(
            f"{PROCESS}={index} is not one of the {PROCESSES}={count} processes; "
            "number them from 0 upwards"
        )
    timeout = _integer(TIMEOUT, default=300)
    if index:
        _await_coordinator(values[COORDINATOR], timeout)
    _start(
        jax,
        {
            "coordinator_address": values[COORDINATOR],
            "num_processes": count,
            "process_id": index,
            "initialization_timeout": timeout,
        },
    )
    return count > 1


def _integer(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "")
    if not text and default is not None:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{name} must be a whole number, not {text!r}") from error


def _start(jax, arguments: dict) -> None:
    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TalkfaceError(
            f"the processes cannot join into one run ({reason}); check {COORDINATOR} and that "
            "every process was started"
        ) from error


def _await_coordinator(address: str, timeout: float) -> None:
    """Waits until process 0 listens: JAX itself would abort the process without an exception."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{COORDINATOR} must be host:port, not {address!r}")
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise TalkfaceError(
                    f"no coordinator answers at {address} after {timeout:.0f} s ({error}); start "
                    f"process 0 there, or correct {COORDINATOR}"
                ) from error
            time.sleep(0.2)
