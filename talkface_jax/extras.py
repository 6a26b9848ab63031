"""The uses of this package that bring packages of their own, and which of these are missing.

`pip install talkface-jax` brings what every use shares. What one use needs besides is an extra:
`pip install 'talkface-jax[train]'`. Which packages that means is read from the metadata of the
installed distribution, so that pyproject.toml is the only list of them.

Lowest layer beside the errors; standard library only, and nothing that it looks for is loaded.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence

from talkface_jax.errors import PackageError

DISTRIBUTION = "talkface-jax"
BASE = ""
"""In the place of an extra's name: what every use shares."""
USES: Mapping[str, str] = {
    "synthesize": "face tracker, video and pictures",
    "train": "data pipeline, checkpoints and logs",
    "speech": "speech features of Whisper, feature = 'whisper_tiny'",
    "evaluate": "scores and their report",
    "beam": "Apache Beam and its runners",
    "prepare": "raw videos to shards, and a look at these",
    "demo": "talking heads made on the spot, and the whole road",
    "voices": "more voices in --dataset=speech",
    "dev": "tests and linters",
}
"""Extra -> what it is for. A package that several bring is asked for by the first of them."""
MODULES: Mapping[str, str] = {
    "absl-py": "absl",
    "google-crc32c": "google_crc32c",
    "hibari-tts": "hibari",
    "import-linter": "importlinter",
    "opencv-python-headless": "cv2",
    "orbax-checkpoint": "orbax.checkpoint",
    "pillow": "PIL",
    "protobuf": "google.protobuf",
    "pytest-xdist": "xdist",
    "scikit-image": "skimage",
    "webrtcvad-wheels": "webrtcvad",
}
"""Distribution -> the module that it is imported by, where that is not its own name."""
_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[(?P<extras>[^\]]*)\])?")
_MARKER = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")
_NAMED = 3


def packages(extra: str) -> tuple[str, ...]:
    """Distributions of an extra and of those that it includes, sorted; `BASE` for the shared ones.

    There are none where the metadata does not know the extra or is not installed.
    """
    return tuple(sorted(_collect(extra, seen=set())))


def _collect(extra: str, *, seen: set[str]) -> set[str]:
    seen.add(extra)
    found: set[str] = set()
    for name, included in _requirements().get(extra, ()):
        if name.lower().replace("_", "-") != DISTRIBUTION:
            found.add(name)
            continue
        for other in included:
            if other not in seen:
                found |= _collect(other, seen=seen)
    return found


def _requirements() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """By extra: names of distributions, each with the extras that are wanted of it."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    table: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for line in lines:
        need, _, marker = line.partition(";")
        match = _REQUIREMENT.match(need)
        if match is None:
            continue
        extra = _MARKER.search(marker)
        included = tuple(part.strip() for part in (match["extras"] or "").split(",") if part)
        table.setdefault(extra[1] if extra else BASE, []).append((match["name"], included))
    return table


def module_of(package: str) -> str:
    """The module by which a distribution is imported."""
    return MODULES.get(package.lower(), package.replace("-", "_"))


def is_installed(package: str) -> bool:
    """Whether the module of a distribution is to be found; it is not loaded."""
    try:
        spec = importlib.util.find_spec(module_of(package))
    except ModuleNotFoundError:  # of the module's parent
        return False
    except ValueError:  # a module that is loaded, and that no file brought
        return True
    # A folder of that name without code in it is no package.
    return spec is not None and spec.origin is not None


def missing(extra: str) -> tuple[str, ...]:
    """Distributions of an extra that are not installed, sorted."""
    return tuple(name for name in packages(extra) if not is_installed(name))


def pip_line(extra: str) -> str:
    """How an extra is installed."""
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, of many the first few: "av, mediapipe, pillow and 2 more"."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def require(*extras: str) -> None:
    """Checks before the work that an extra's packages are there.

    Raises:
      PackageError: some of the first incomplete one are not installed.
    """
    for extra in extras:
        if absent := missing(extra):
            raise _not_installed(absent, extra)


def explain(error: ModuleNotFoundError, *, preferred: Sequence[str] = ()) -> PackageError | None:
    """What to tell a user who lacks a package; None where the error is a bug.

    Args:
      error: of an import.
      preferred: extras to name, if they bring the package; else the first of `USES` that does.
    """
    for extra in (BASE, *preferred, *USES):
        for package in packages(extra):
            if _within(error.name or "", module_of(package)) and not is_installed(package):
                return _not_installed((package,), extra)
    return None


def _within(name: str, module: str) -> bool:
    """Whether a module that was not found is this one, a part of it or a parent."""
    return f"{name}.".startswith(f"{module}.") or f"{module}.".startswith(f"{name}.")


def _not_installed(names: Sequence[str], extra: str) -> PackageError:
    what = "the package {} is" if len(names) == 1 else "the packages {} are"
    return PackageError(f"{what.format(listed(names))} not installed; {pip_line(extra)}")
