"""Starts one run as several processes on this machine, as a cluster would start it on several.

    python launch/local.py --processes=2 -- talkface train --config=... --workdir=...

Every process gets the variables that `talkface_jax.train.distributed` reads. When one process fails
the others are ended, and its exit status is this script's. `--cpu-devices=N` splits the CPU into N
devices for each process, to try a sharded run without accelerators.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(index: int, *, processes: int, port: int, cpu_devices: int) -> dict[str, str]:
    """The variables of one process."""
    variables = {
        **os.environ,
        "TALKFACE_COORDINATOR": f"127.0.0.1:{port}",
        "TALKFACE_NUM_PROCESSES": str(processes),
        "TALKFACE_PROCESS_ID": str(index),
    }
    if cpu_devices:
        flag = f"--xla_force_host_platform_device_count={cpu_devices}"
        variables["JAX_PLATFORMS"] = "cpu"
        variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    return variables


def run(command: Sequence[str], *, processes: int, cpu_devices: int) -> int:
    """Runs the command in every process; the first exit status that is not 0, or 0."""
    port = free_port()
    children = [
        subprocess.Popen(
            command,
            env=environment(index, processes=processes, port=port, cpu_devices=cpu_devices),
        )
        for index in range(processes)
    ]
    # Ctrl-C reaches the children by itself; SIGTERM is passed on, so that each saves and stops.
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])
    status = 0
    try:
        while any(child.poll() is None for child in children):
            failed = [child.returncode for child in children if child.returncode]
            if failed:
                break
            time.sleep(0.1)
    except KeyboardInterrupt:
        status = 130
    for child in children:
        status = status or child.poll() or 0
    _end(children)
    return abs(status)


def _end(children: Sequence[subprocess.Popen]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> int:
    """Reads the flags and runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="how many processes (default: 2)")
    parser.add_argument(
        "--cpu-devices", type=int, default=0, help="CPU devices of each process (default: as JAX)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command or args.processes < 1:
        parser.error("give the command after --, and at least one process")
    return run(command, processes=args.processes, cpu_devices=args.cpu_devices)


if __name__ == "__main__":
    sys.exit(main())
