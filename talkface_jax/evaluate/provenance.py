"""Where numbers come from: command, date, versions, hardware."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import sys

PACKAGES = (
    "talkface-jax",
    "jax",
    "numpy",
    "scikit-image",
    "mediapipe",
    "opencv-python-headless",
    "av",
)


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe_run(command: str | None = None) -> dict[str, str]:
    """Command line (this process's unless given), date, versions and hardware, as text by topic."""
    if command is None:
        command = shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
        + f", Python {platform.python_version()}",
        "hardware": f"{_processor()}, {os.cpu_count()} CPU cores, {platform.system()}",
    }
