"""The zip format of `torch.save`, without torch: a pickle of headers, and one member a storage.

    <root>/data.pkl     the saved object; tensors are calls that name a storage, offset, shape and
                        strides
    <root>/data/<key>   the storage's bytes, not compressed
    <root>/byteorder    "little" or "big"; absent in old files, which are little-endian

Source: torch.serialization and torch._utils (PyTorch 1.6 to 2.13).
"""

import math
import os
import pathlib
import pickle
import zipfile
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from talkface_jax.errors import WeightsError
from talkface_jax.interop import restricted_pickle
from talkface_jax.interop.restricted_pickle import Call

REMEDY = "take the file from its first source again"
_STATE_DICT_ONLY = "use a file that holds a state_dict alone, as torch.save(net.state_dict(), FILE)"
_DTYPES = {
    name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}
_STORAGES = {
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ByteStorage": "uint8",
}


class _Dtype(NamedTuple):
    """A dtype by name: NumPy's own object is shared, and a pickle could change its byte order."""

    name: str


class _StorageType(NamedTuple):
    """A storage class; no dtype: bytes."""

    dtype: _Dtype | None


class _Storage(NamedTuple):
    """One member of the archive, `items` long (bytes where it has no dtype)."""

    key: str
    dtype: _Dtype | None
    items: int


class Tensor(NamedTuple):
    """A tensor's header, checked against its storage; see `TorchZip.array`."""

    storage: _Storage
    dtype: _Dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _OrderedDict(dict[Any, Any]):
    """What the file calls an OrderedDict."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """PyTorch's `_metadata` (versions of its modules), of no use here."""


def _itemsize(dtype: _Dtype | None) -> int:
    return _DTYPES[dtype.name].itemsize if dtype else 1


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def _tensor(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    """A header whose every element lies in its storage."""
    known = isinstance(storage, _Storage) and isinstance(dtype, _Dtype)
    if not (known and _are_counts((offset,)) and _are_counts(shape) and _are_counts(strides)):
        raise pickle.UnpicklingError("a tensor has a header that torch does not write")
    if len(shape) != len(strides):
        raise pickle.UnpicklingError(f"a tensor has shape {shape} but strides {strides}")
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    end = offset + sum(reach) + 1 if all(shape) else 0
    held = storage.items * _itemsize(storage.dtype) // _itemsize(dtype)
    if end > held:
        raise pickle.UnpicklingError(
            f"a tensor reaches to element {end} of storage data/{storage.key}, which holds {held}"
        )
    return Tensor(storage, dtype, offset, shape, strides)


def _rebuild_tensor_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, *_gradient_hooks_metadata: Any
) -> Tensor:
    return _tensor(storage, getattr(storage, "dtype", None), offset, shape, strides)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _gradient: Any,
    _hooks: Any,
    dtype: Any,
    *_metadata: Any,
) -> Tensor:
    """As v2, for dtypes without a storage class."""
    return _tensor(storage, dtype, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *_gradient_hooks_state: Any) -> Any:
    return tensor


_NAMES: restricted_pickle.Names = {
    ("collections", "OrderedDict"): Call(lambda pairs=(): _OrderedDict(pairs)),
    ("torch", "Size"): Call(lambda sizes=(): tuple(sizes)),
    ("torch._utils", "_rebuild_tensor_v2"): Call(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Call(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): Call(_rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Call(_rebuild_parameter),
    ("torch.storage", "UntypedStorage"): _StorageType(None),
    **{("torch", name): _StorageType(_Dtype(dtype)) for name, dtype in _STORAGES.items()},
    **{("torch", name): _Dtype(name) for name in _DTYPES},
}


class TorchZip:
    """An open archive of `torch.save`.

    Args:
      archive: the zip file.
      path: where it lies.
      root: the folder in it that holds `data.pkl`.

    Raises:
      WeightsError: members that are compressed or promise more bytes than the file has, or an
        unknown byte order.
    """

    def __init__(self, archive: zipfile.ZipFile, *, path: pathlib.Path, root: str) -> None:
        self._archive, self._path, self._root = archive, path, root
        self._members = {info.filename: info for info in archive.infolist()}
        self._loaded: dict[tuple[str, int], np.ndarray] = {}
        if any(info.compress_type != zipfile.ZIP_STORED for info in self._members.values()):
            raise WeightsError(
                f"{path} is compressed, which torch.save never does; unpack it and save its tensors"
                " again"
            )
        promised = sum(info.file_size for info in self._members.values())
        if promised > os.path.getsize(path):
            raise WeightsError(
                f"{path} is damaged (its members claim {promised} bytes, more than the file has);"
                f" {REMEDY}"
            )
        order = self._read("byteorder") if f"{root}/byteorder" in self._members else b"little"
        if order not in (b"little", b"big"):
            raise WeightsError(
                f"{path} has the byte order {restricted_pickle.shown(repr(order))} where torch"
                f" writes little or big; {REMEDY}"
            )
        self._order = "<" if order == b"little" else ">"

    def _read(self, member: str) -> bytes:
        return self._archive.read(f"{self._root}/{member}")

    def tree(self) -> Any:
        """The saved object, with a `Tensor` for every tensor; no storage is read.

        Raises:
          WeightsError: it needs anything but tensors, plain containers and numbers, or its headers
            do not fit the storages.
        """
        return restricted_pickle.load(
            self._read("data.pkl"),
            _NAMES,
            source=str(self._path),
            content="tensors",
            remedy=_STATE_DICT_ONLY,
            persistent=self._storage,
        )

    def _storage(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType() as kind, str() as key, _, int() as items):
                pass
            case _:
                raise pickle.UnpicklingError("a storage has a header that torch does not write")
        info = self._members.get(f"{self._root}/data/{key}")
        name = restricted_pickle.shown(f"data/{key}")
        if info is None:
            raise pickle.UnpicklingError(f"storage {name} is missing")
        if items * _itemsize(kind.dtype) != info.file_size:
            raise pickle.UnpicklingError(
                f"storage {name} should hold {items * _itemsize(kind.dtype)} bytes and holds"
                f" {info.file_size}"
            )
        return _Storage(key, kind.dtype, items)

    def array(self, tensor: Tensor, *, key: str) -> np.ndarray:
        """The tensor's values: a read-only view of its storage, strides as saved.

        Args:
          tensor: a leaf of `tree`.
          key: its name, for messages.

        Raises:
          WeightsError: a shape that no array can have.
        """
        dtype = _DTYPES[tensor.dtype.name]
        try:
            if not math.prod(tensor.shape):
                return np.zeros(tensor.shape, dtype)
            return np.ndarray(
                tensor.shape,
                dtype,
                self._values(tensor.storage.key, dtype.itemsize),
                tensor.offset * dtype.itemsize,
                tuple(stride * dtype.itemsize for stride in tensor.strides),
            )
        except (ValueError, OverflowError, MemoryError) as error:
            raise WeightsError(
                f"{self._path} is damaged ({restricted_pickle.shown(key)} cannot have shape"
                f" {restricted_pickle.shown(str(tensor.shape))}); {REMEDY}"
            ) from error

    def _values(self, key: str, itemsize: int) -> np.ndarray:
        """A storage in this machine's byte order."""
        if (key, itemsize) not in self._loaded:
            # As numbers of that size, for bfloat16 has no other byte order in NumPy.
            values = np.frombuffer(self._read(f"data/{key}"), f"{self._order}u{itemsize}")
            self._loaded[key, itemsize] = values.astype(f"=u{itemsize}", copy=False)
        return self._loaded[key, itemsize]
