"""Reads a bundle back and runs its programs."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from talkface_jax.errors import WeightsError
from talkface_jax.export import bundle as writing
from talkface_jax.export.programs import BATCH, unflatten
from talkface_jax.recent import Recent

Arrays = Mapping[str, Any]


@dataclasses.dataclass
class _Loaded:
    """One program with its weights on the device, by network."""

    function: Callable[[Mapping[str, Arrays], Arrays, Arrays], Arrays]
    weights: Mapping[str, Arrays]
    state: tuple[str, ...]
    inputs: Mapping[str, tuple[tuple[int | str, ...], np.dtype]]
    outputs: Mapping[str, tuple[tuple[int | str, ...], np.dtype]]
    buckets: set[int]

    def run(self, inputs: Arrays) -> dict[str, jax.Array]:
        """All inputs as they are."""
        state = {name: inputs[name] for name in self.state}
        others = {name: value for name, value in inputs.items() if name not in state}
        return dict(self.function(self.weights, state, others))


_RECENT: Recent[dict[str, _Loaded]] = Recent(2)
"""Of the last bundles: a trained one and one to compare it with."""


class Bundle:
    """A loaded bundle: `manifest`, `configs` (nested dicts by stage) and `call`."""

    def __init__(
        self,
        manifest: writing.Manifest,
        configs: Mapping[str, Any],
        programs: Mapping[str, _Loaded],
    ) -> None:
        self.manifest = manifest
        self.configs = configs
        self._programs = programs

    def _program(self, name: str) -> _Loaded:
        if name not in self._programs:
            raise ValueError(f"no program {name!r}; the bundle has {', '.join(self._programs)}")
        return self._programs[name]

    def call(self, name: str, inputs: Arrays) -> dict[str, jax.Array]:
        """Runs a program.

        The batch ("b") is padded by its last row to a bucket and the padding cut off, so that few
        programs are compiled: the smallest bucket already in use that is large enough, else the
        next power of two. So a program must not mix the rows of its batch. One with state
        may: it is run as it is asked, its batch is that of its state.

        Args:
          name: program name.
          inputs: arrays by name; results of other programs stay on the device. Buffers of state are
            donated: what comes out under its name takes its place.

        Returns:
          Outputs by name, on the device.

        Raises:
          ValueError: no such program, or inputs that do not fit its signature.
        """
        program = self._program(name)
        batch = _check_inputs(name, program, inputs)
        if batch == 0:
            raise ValueError(f"{name}: a batch of no rows")
        if program.state or batch is None:
            return program.run(inputs)
        fitting = [bucket for bucket in program.buckets if bucket >= batch]
        bucket = min(fitting) if fitting else 1 << max(0, batch - 1).bit_length()
        program.buckets.add(bucket)
        padded = {
            key: _pad(value, program.inputs[key][0], bucket - batch)
            for key, value in inputs.items()
        }
        outputs = program.run(padded)
        return {key: _cut(value, program.outputs[key][0], batch) for key, value in outputs.items()}

    def start(self, name: str, **sizes: int) -> dict[str, Any]:
        """Zeros for the state of a program, on the device.

        Args:
          name: program name.
          sizes: its symbolic dimensions.

        Raises:
          ValueError: no such program, or a dimension without a size.
        """
        program = self._program(name)
        state = {}
        for key in program.state:
            dims, dtype = program.inputs[key]
            if missing := [dim for dim in dims if isinstance(dim, str) and dim not in sizes]:
                raise ValueError(f"{name}: {key} has the dimensions {dims}; give {missing}")
            shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in dims)
            state[key] = jnp.zeros(shape, dtype)
        return state


def load_bundle(path: pathlib.Path) -> Bundle:
    """Verifies a bundle's checksums and version and puts its weights on the default device, once.

    The last two are kept, compiled, for the next call with the same files.

    Raises:
      WeightsError: not a bundle, a missing or altered file (by name), a jax that is too old, or a
        platform that it was not exported for.
    """
    manifest = check_bundle(path)
    configs = json.loads((path / writing.CONFIG).read_text())
    # The seal is over the checksums of all files, which were verified.
    key = writing.seal(dataclasses.asdict(manifest))
    loaded = _RECENT.get(key, lambda: _load_programs(path, manifest))
    # Which batches are compiled is a matter of the one who calls: pixels must not depend on what
    # another one asked for.
    own = {name: dataclasses.replace(item, buckets=set()) for name, item in loaded.items()}
    return Bundle(manifest, configs, own)


def _load_programs(path: pathlib.Path, manifest: writing.Manifest) -> dict[str, _Loaded]:
    used = {network for entry in manifest.programs.values() for network in entry["networks"]}
    weights = {network: _read_weights(path / f"{network}.safetensors") for network in sorted(used)}
    return {
        name: _load_program(path / f"{name}.stablehlo", entry, weights)
        for name, entry in manifest.programs.items()
    }


def check_bundle(path: pathlib.Path) -> writing.Manifest:
    """Verifies a bundle's checksums and version without loading it; gives its manifest.

    Raises:
      WeightsError: not a bundle, a missing or altered file (by name), or a jax that is too old.
    """
    manifest = _read_manifest(path)
    for name, expected in manifest.files.items():
        file = path / name
        if pathlib.PurePath(name).name != name or not file.is_file():
            raise WeightsError(
                f"{file} is missing from the bundle; export or copy the bundle again"
            )
        if writing.digest(file) != expected:
            raise WeightsError(
                f"{file} was altered (its sha256 is not the manifest's); export or copy the bundle "
                "again"
            )
    if _release(jax.__version__) < _release(manifest.minimum_jax):
        raise WeightsError(
            f"bundle {path} needs jax {manifest.minimum_jax} or newer, this is {jax.__version__}; "
            "upgrade jax or export the bundle again with this version"
        )
    return manifest


def read_variables(path: pathlib.Path, network: str) -> dict[str, Any]:
    """The variables of one network of a bundle, on the host, as training has them."""
    from safetensors.numpy import load_file

    return unflatten(load_file(path / f"{network}.safetensors"))


def _read_manifest(path: pathlib.Path) -> writing.Manifest:
    file = path / writing.MANIFEST
    try:
        values = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        if not path.exists():
            raise WeightsError(
                f"{path} is not a bundle, it does not exist; give a directory that talkface export "
                "wrote"
            ) from error
        raise WeightsError(
            f"{path} is not a bundle (no {writing.MANIFEST}); give a directory that talkface "
            "export wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{file} is not a readable manifest; export or copy the bundle again"
        ) from error
    if not isinstance(values, dict) or values.get("format") != writing.FORMAT:
        raise WeightsError(f"{file} is not a bundle's manifest; give what talkface export wrote")
    if values.get("version") != writing.VERSION:
        raise WeightsError(
            f"bundle {path} has format version {values.get('version')}, this program reads "
            f"{writing.VERSION}; export it again"
        )
    if values.pop("seal", None) != writing.seal(values):
        raise WeightsError(
            f"{file} was altered (its seal does not fit); export or copy the bundle again"
        )
    return writing.Manifest(**values)


def _read_weights(path: pathlib.Path) -> dict[str, jax.Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return jax.device_put(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); export the bundle again") from error


def _load_program(
    path: pathlib.Path, entry: Mapping[str, Any], weights: Mapping[str, Arrays]
) -> _Loaded:
    try:
        exported = jax.export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # flatbuffers and MLIR raise many kinds; the bytes were verified
        raise WeightsError(
            f"{path} cannot be read by jax {jax.__version__} ({type(error).__name__}); export it "
            "again with this version"
        ) from error
    if jax.default_backend() not in {*exported.platforms, "gpu"}:
        raise WeightsError(
            f"{path} is for {', '.join(exported.platforms)}, not {jax.default_backend()}; set "
            "JAX_PLATFORMS=cpu"
        )

    def signature(kind: str) -> dict[str, tuple[tuple[int | str, ...], np.dtype]]:
        return {key: (tuple(dims), np.dtype(dtype)) for key, (dims, dtype) in entry[kind].items()}

    return _Loaded(
        function=jax.jit(exported.call, donate_argnums=1),
        weights={network: weights[network] for network in entry["networks"]},
        state=tuple(entry["state"]),
        inputs=signature("inputs"),
        outputs=signature("outputs"),
        buckets=set(),
    )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _check_inputs(name: str, program: _Loaded, inputs: Arrays) -> int | None:
    """The batch size, or None for a program without a batch dimension."""
    if set(inputs) != set(program.inputs):
        raise ValueError(f"{name} takes {sorted(program.inputs)}, not {sorted(inputs)}")
    sizes: dict[str, int] = {}
    for key, value in inputs.items():
        dims, dtype = program.inputs[key]
        fits = len(dims) == value.ndim and value.dtype == dtype
        if fits:
            for dim, size in zip(dims, value.shape, strict=True):
                fits &= sizes.setdefault(dim, size) == size if isinstance(dim, str) else dim == size
        if not fits:
            raise ValueError(
                f"{name}: {key} is {value.dtype} {value.shape}, not {dtype} {dims} with {sizes}"
            )
    return sizes.get(BATCH)


def _axis(dims: tuple[int | str, ...]) -> int | None:
    return dims.index(BATCH) if BATCH in dims else None


def _pad(value: Any, dims: tuple[int | str, ...], rows: int) -> Any:
    axis = _axis(dims)
    if axis is None or rows == 0:
        return value
    # What lies on the device is padded there.
    xp: Any = jnp if isinstance(value, jax.Array) else np
    last = xp.take(value, np.array([-1]), axis=axis)
    return xp.concatenate([value, xp.repeat(last, rows, axis=axis)], axis=axis)


def _cut(value: jax.Array, dims: tuple[int | str, ...], batch: int) -> jax.Array:
    axis = _axis(dims)
    if axis is None or value.shape[axis] == batch:
        return value
    return jax.lax.slice_in_dim(value, 0, batch, axis=axis)
