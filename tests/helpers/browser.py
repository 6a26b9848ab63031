"""A page in headless Chromium, where the machine has one."""

import pathlib
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

needed = pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)),
    reason=f"none of {', '.join(BROWSERS)} is installed (apt-get install chromium)",
)


def run(profile: pathlib.Path, page: pathlib.Path, width: int, height: int, *flags: str) -> str:
    """What the browser prints of a page, with a window of that size."""
    program = next(filter(None, map(shutil.which, BROWSERS)))
    window = f"--window-size={width},{height}"
    command = [program, *FLAGS, f"--user-data-dir={profile}", window, *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
