"""Where numbers come from: command, date, versions, hardware."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
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


def revision() -> str:
    """Which code this is: the commit of its checkout (and whether it was changed), or the version
    of the installed package."""
    package = pathlib.Path(__file__).resolve().parents[1]
    git = ["git", "-C", str(package)]
    try:
        top, commit, changed = (
            subprocess.run([*git, *ask], capture_output=True, text=True, check=True).stdout.strip()
            for ask in (
                ["rev-parse", "--show-toplevel"],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", "."],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        top = ""
    # An environment may lie within some other project's checkout.
    if not top or pathlib.Path(top) != package.parent:
        return f"talkface-jax {_version('talkface-jax')}, not a checkout"
    return f"{commit}, with changes that are not committed" if changed else commit


def describe_run(command: str | None = None) -> dict[str, str]:
    """Command line (this process's unless given), date, the code's revision, versions and hardware,
    as text by topic."""
    if command is None:
        command = shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
        + f", Python {platform.python_version()}",
        "hardware": f"{_processor()}, {os.cpu_count()} CPU cores, {platform.system()}",
    }
