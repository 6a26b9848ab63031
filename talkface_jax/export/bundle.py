"""A bundle: what synthesis needs of a trained method, as one directory that runs anywhere.

    manifest.json          format, versions, program signatures, lineage, weight id, sha256 of
                           every file, and a seal over all that
    config.json            task config of every stage
    replay_faces.…         further files of the method (`Method.files`)
    <program>.stablehlo    networks (jax.export)
    <player>.safetensors   weights

It is written under a temporary name and renamed, so that a directory of the right name is complete.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from talkface_jax import __version__
from talkface_jax.config import dumps
from talkface_jax.errors import WeightsError
from talkface_jax.export import programs as exporting
from talkface_jax.task import Method, Program

FORMAT = "talkface-bundle"
VERSION = 2
MANIFEST = "manifest.json"
CONFIG = "config.json"

_LOG = logging.getLogger(__name__)
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "safetensors")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The bundle's table of contents.

    Attributes:
      method: registry name of the method.
      weight_id: first 16 hexadecimal digits of the sha256 over all weights; stamped into every
        output.
      minimum_jax: oldest jax that is promised to read the programs (the one that wrote them).
      programs: name -> the networks that it takes, its state, inputs and outputs (dimensions and
        dtype; letters are symbolic).
      files: file name -> sha256.
      versions: package -> version at export.
      lineage: by stage, where the weights come from (data, licence, checkpoint, config).
      requires: what it needs of the installed version, as `Method.requires` says.
      compute: number format of the networks' arithmetic.
      frozen: by frozen network its licence, the sha256 of the file that it was read from, and its
        lineage.
    """

    method: str
    weight_id: str
    minimum_jax: str
    programs: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str]
    versions: Mapping[str, str]
    lineage: Mapping[str, Any]
    requires: Mapping[str, str] = dataclasses.field(default_factory=dict)
    compute: str = "float32"
    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    format: str = FORMAT
    version: int = VERSION


def write_bundle(
    method: Method,
    programs: Sequence[Program],
    *,
    variables: Mapping[str, Mapping[str, Any]],
    configs: Mapping[str, Any],
    lineage: Mapping[str, Any],
    out: pathlib.Path,
    compute: str = "float32",
) -> Manifest:
    """Writes a bundle; an older bundle at `out` is replaced once the new one is complete.

    Args:
      method: the method.
      programs: its networks (`Method.programs`).
      variables: weights by player, {"params": ..., "batch_stats": ...}; those of the frozen
        networks that the programs take come from `Method.frozen`.
      configs: task config (a dataclass) by stage.
      lineage: anything JSON about the origin of the weights, by stage.
      out: the directory to make.
      compute: number format of the networks' arithmetic, see `programs.computed_in`.

    Raises:
      WeightsError: weights that do not fit the config, or an `out` that is something else or cannot
        be written.
    """
    frozen = {item.name: item for item in method.frozen(configs)}
    weights = {**variables, **{name: item.load() for name, item in frozen.items()}}
    if both := set(variables) & set(frozen):
        raise ValueError(f"{', '.join(both)} is a player and a frozen network")
    if len({program.name for program in programs}) < len(programs):
        raise ValueError("two programs have one name")
    for program in programs:
        exporting.check_weights(program, weights)
    check_target(out)
    with _made(out) as temporary:
        return _fill(temporary, method, programs, weights, configs, lineage, compute=compute)


@contextlib.contextmanager
def _made(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder that becomes `out` once the block has filled it.

    Raises:
      WeightsError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            yield temporary
            _put_in_place(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise WeightsError(
            f"bundle {out} cannot be written ({error.strerror}); free space or choose another path"
        ) from error


def _save_network(place: pathlib.Path, network: str, flat: Mapping[str, Any]) -> None:
    from safetensors.numpy import save_file

    # Not ascontiguousarray, which turns a number into an array of one.
    arrays = {path: np.asarray(leaf, order="C") for path, leaf in flat.items()}
    save_file(arrays, place, metadata={"player": network})


def _fill(
    folder: pathlib.Path,
    method: Method,
    programs: Sequence[Program],
    variables: Mapping[str, Mapping[str, Any]],
    configs: Mapping[str, Any],
    lineage: Mapping[str, Any],
    *,
    compute: str,
) -> Manifest:
    used = {name for program in programs for name in (*program.players, *program.frozen)}
    for network in sorted(used):
        place = folder / f"{network}.safetensors"
        _save_network(place, network, exporting.flatten(variables[network]))
    for name, data in method.files(configs).items():
        (folder / name).write_bytes(data)
    signatures = {}
    for program in programs:
        _LOG.info("exporting %s", program.name)
        exported = exporting.export_program(exporting.computed_in(program, compute))
        (folder / f"{program.name}.stablehlo").write_bytes(exported.data)
        signatures[program.name] = {
            "networks": list(exported.networks),
            "state": list(exported.state),
            "inputs": {k: [list(dims), dtype] for k, (dims, dtype) in exported.inputs.items()},
            "outputs": {k: [list(dims), dtype] for k, (dims, dtype) in exported.outputs.items()},
        }
    stages = {stage: json.loads(dumps(config)) for stage, config in configs.items()}
    (folder / CONFIG).write_text(json.dumps(stages, indent=2, sort_keys=True) + "\n")
    files = {path.name: digest(path) for path in sorted(folder.iterdir())}
    manifest = Manifest(
        method=method.declaration.name,
        weight_id=_weight_id(files, used),
        minimum_jax=jax.__version__,
        programs=signatures,
        files=files,
        versions={
            "talkface_jax": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        lineage=lineage,
        requires=dict(method.requires(configs)),
        compute=compute,
        frozen={
            item.name: {"licence": item.licence, "sha256": item.sha256, "lineage": item.lineage}
            for item in method.frozen(configs)
            if item.name in used
        },
    )
    _write_manifest(folder, manifest)
    return manifest


def _weight_id(files: Mapping[str, str], networks: Iterable[str]) -> str:
    weights = "".join(files[f"{network}.safetensors"] for network in sorted(networks))
    return hashlib.sha256(weights.encode()).hexdigest()[:16]


def _write_manifest(folder: pathlib.Path, manifest: Manifest) -> None:
    # Through JSON once, so that the seal is over what a reader will see.
    values = json.loads(json.dumps(dataclasses.asdict(manifest), default=str))
    text = json.dumps({**values, "seal": seal(values)}, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n")


def derive_bundle(
    parent: pathlib.Path,
    manifest: Manifest,
    *,
    variables: Mapping[str, Mapping[str, Any]],
    lineage: Mapping[str, Any],
    out: pathlib.Path,
) -> Manifest:
    """Writes a bundle that differs from another one in the weights of some networks.

    All other files are copied bit for bit, the programs too, which take weights as arguments.

    Args:
      parent: a bundle whose files were checked (`load.check_bundle`).
      manifest: its own.
      variables: new weights, by network of the parent.
      lineage: in the place of the parent's.
      out: the directory to make; nothing may lie there.

    Raises:
      WeightsError: weights of other paths, shapes or types, or that are not finite, or an `out`
        that exists or cannot be written.
    """
    from safetensors.numpy import load_file

    require_nothing(out)
    networks = {name for entry in manifest.programs.values() for name in entry["networks"]}
    with _made(out) as temporary:
        for name in manifest.files:
            shutil.copyfile(parent / name, temporary / name)
        for network, tree in variables.items():
            place = temporary / f"{network}.safetensors"
            given = exporting.flatten(tree)
            exporting.check_network(network, load_file(place), given)
            _save_network(place, network, given)
        files = {name: digest(temporary / name) for name in manifest.files}
        derived = dataclasses.replace(
            manifest, files=files, weight_id=_weight_id(files, networks), lineage=lineage
        )
        _write_manifest(temporary, derived)
    return derived


def require_nothing(out: pathlib.Path) -> None:
    """Refuses to write where anything lies but an empty folder: an older bundle, a device such as
    /dev/null, which a rename would replace, or a link that leads nowhere.

    Raises:
      WeightsError: something does.
    """
    empty = out.is_dir() and not any(out.iterdir())
    if os.path.lexists(out) and not empty:
        raise WeightsError(f"{out} exists; choose another --out or move it away")


def digest(path: pathlib.Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(values: Mapping[str, Any]) -> str:
    """sha256 over the manifest's other fields, so that changes in the manifest are found too."""
    others = {key: value for key, value in values.items() if key != "seal"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def is_bundle(path: pathlib.Path) -> bool:
    """Whether a directory's manifest says that it is a bundle (of any version, intact or not)."""
    try:
        return json.loads((path / MANIFEST).read_text()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def check_target(out: pathlib.Path) -> None:
    """Refuses to write where something else lies than an older bundle.

    Raises:
      WeightsError: it does.
    """
    if not out.exists() or is_bundle(out) or (out.is_dir() and not any(out.iterdir())):
        return
    raise WeightsError(f"{out} exists and is not a bundle; choose another --out or move it away")


def _put_in_place(temporary: pathlib.Path, out: pathlib.Path) -> None:
    temporary.chmod(0o755)
    for path in temporary.iterdir():
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())
    if not out.exists():
        temporary.rename(out)
        return
    old = out.with_name(f".{out.name}.old.{os.getpid()}")
    out.rename(old)
    try:
        temporary.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)
