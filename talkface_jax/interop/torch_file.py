"""Weight files of other people: PyTorch's zip format, safetensors and npz.

Neither torch nor anything inside a file is run. What a file is, its content decides, not its name.
"""

import contextlib
import hashlib
import math
import pathlib
import shlex
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from talkface_jax.errors import WeightsError
from talkface_jax.interop.restricted_pickle import shown
from talkface_jax.interop.torch_zip import REMEDY, Tensor, TorchZip

_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled magic number of `torch.save` before PyTorch 1.6, behind two bytes of protocol."""
_TAR_MAGIC, _TAR_OFFSET = b"ustar", 257
_HEAD = 512
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What Python's zip reader raises for damaged files."""
_SAFETENSORS_TYPES = frozenset(
    {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
)
_SHOWN_KEYS = 5


def file_sha256(path: pathlib.Path) -> str:
    """sha256 of a file's bytes, in hexadecimal.

    Raises:
      WeightsError: it cannot be read.
    """
    with _readable(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_state_dict(path: pathlib.Path, *, entry: str = "") -> dict[str, np.ndarray]:
    """The tensors of a weight file, by their PyTorch keys.

    A checkpoint with a `state_dict` beside optimiser state and counters (as IP-LAP's are released)
    gives that entry. The prefix `module.` of `DataParallel` is removed where every key has it.

    Args:
      path: a file of `torch.save`, safetensors or npz; its name does not matter.
      entry: key of the state_dict in the dict that a file of `torch.save` holds; "": it is no part
        of one. Nothing else is read of the file.

    Returns:
      Arrays in the file's dtypes (bfloat16 as ml_dtypes has it); they may be read-only views with
      the strides that were saved.

    Raises:
      WeightsError: missing, truncated, damaged or of another format; a pickle that names anything
        but tensors and plain containers (nothing of it is run); no such entry; entries that are
        not tensors.
    """
    if _is_zip(path):
        with _intact(path), zipfile.ZipFile(path) as archive:
            tensors = _read_zip(path, archive, entry)
    elif entry:
        raise _flat(path, entry)
    else:
        tensors = _read_safetensors(path)
    if not tensors:
        where = f"{path} ({entry})" if entry else path
        raise WeightsError(f"{where} holds no tensors; give a file with trained weights")
    return _without_prefix(tensors)


def entry_names(path: pathlib.Path) -> tuple[str, ...]:
    """Keys of the dict that a file of `torch.save` holds; none of other files.

    Raises:
      WeightsError: as `read_state_dict`, about the file as a whole.
    """
    if not _is_zip(path):
        return ()
    with _intact(path), zipfile.ZipFile(path) as archive:
        opened = _opened(path, archive)
        tree = opened.tree() if opened else None
    return tuple(map(str, tree)) if isinstance(tree, dict) else ()


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}); give the path of a weight file"
        ) from error


@contextlib.contextmanager
def _intact(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise WeightsError(
            f"{path} is truncated or damaged ({shown(str(error)) or 'it ends early'}); {REMEDY}"
        ) from error


def _head(path: pathlib.Path) -> bytes:
    """The first bytes."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the path of a weight file")
    with _readable(path), path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise WeightsError(f"{path} is empty; {REMEDY}")
    return head


def _is_zip(path: pathlib.Path) -> bool:
    """Whether it is a zip file, of torch.save or npz; safetensors otherwise."""
    head = _head(path)
    if head.startswith(b"PK"):
        return True
    if len(head) > 8 and head[8:9] == b"{":
        return False
    raise _foreign(path, head)


def _command(program: str) -> str:
    """A shell line that runs a Python program."""
    plain = not set(program) & set('"$`\\!')
    return f'python -c "{program}"' if plain else f"python -c {shlex.quote(program)}"


def _saved_again(path: pathlib.Path, load: str) -> str:
    """The shell line that loads a file by torch and saves it in today's format."""
    new = path.with_name(f"{path.stem}_new.pth")
    return _command(f"import torch; torch.save({load.format(repr(str(path)))}, {str(new)!r})")


def _foreign(path: pathlib.Path, head: bytes) -> WeightsError:
    """What a file of no known format probably is."""
    if head[:1] == b"\x80" and head[2:].startswith(_LEGACY):
        line = _saved_again(path, "torch.load({}, map_location='cpu', weights_only=True)")
        return WeightsError(
            f"{path} has the format that PyTorch wrote before 1.6; save it again by: {line}"
        )
    if head[_TAR_OFFSET:].startswith(_TAR_MAGIC):
        line = _saved_again(path, "torch.load({}, map_location='cpu', weights_only=False)")
        return WeightsError(
            f"{path} has the tar format of the first PyTorch, which torch itself reads only by"
            f" running what is in it; if you trust its source, save it again by: {line}"
        )
    return WeightsError(
        f"{path} is not a weight file of torch.save, safetensors or npz (it begins with"
        f" {head[:8]!r}); {REMEDY}"
    )


def _read_zip(path: pathlib.Path, archive: zipfile.ZipFile, entry: str) -> dict[str, np.ndarray]:
    opened = _opened(path, archive)
    if opened is None:
        if entry:
            raise _flat(path, entry)
        return _read_npz(path, archive)
    tree = opened.tree()
    leaves = (
        _state_dict(f"{path} ({entry})", _entry(path, tree, entry))
        if entry
        else _state_dict(str(path), tree)
    )
    return {key: opened.array(leaf, key=key) for key, leaf in leaves.items()}


def _opened(path: pathlib.Path, archive: zipfile.ZipFile) -> TorchZip | None:
    """A file of torch.save, or None for npz."""
    names = archive.namelist()
    roots = [name.split("/")[0] for name in names if name.split("/")[1:] == ["data.pkl"]]
    if not roots and names and all(name.endswith(".npy") for name in names):
        return None
    if len(roots) != 1:
        raise WeightsError(
            f"{path} is a zip file, but neither of torch.save (no data.pkl) nor npz; {REMEDY}"
        )
    root = roots[0]
    if any(name == f"{root}/constants.pkl" or name.startswith(f"{root}/code/") for name in names):
        line = _saved_again(path, "torch.jit.load({}, map_location='cpu').state_dict()")
        raise WeightsError(
            f"{path} is a TorchScript program, not a file of weights; if you trust its source, save"
            f" its weights by: {line}"
        )
    return TorchZip(archive, path=path, root=root)


def _listed(keys: Any) -> str:
    """The first few keys, for a message."""
    names = [shown(str(key)) for key in list(keys)[:_SHOWN_KEYS]]
    return ", ".join(names) + (", …" if len(keys) > _SHOWN_KEYS else "")


def _flat(path: pathlib.Path, entry: str) -> WeightsError:
    return WeightsError(
        f"{path} is one set of tensors, which has no entry {entry}; give the file of torch.save as"
        " it was released"
    )


def _entry(path: pathlib.Path, tree: Any, entry: str) -> Any:
    """What was saved under a key of a dict."""
    if not isinstance(tree, dict) or entry not in tree:
        found = f"a dict of {_listed(tree)}" if isinstance(tree, dict) and tree else "no such dict"
        raise WeightsError(
            f"{path} has no entry {entry}, it holds {found}; give the file as it was released"
        )
    found = tree[entry]
    if not isinstance(found, dict):
        raise WeightsError(
            f"{path} holds a {type(found).__name__} as its entry {entry}, which should be a"
            " state_dict; give the file as it was released"
        )
    return found


def _state_dict(path: str, tree: Any) -> dict[str, Tensor]:
    """The flat dict of tensors in what was saved."""
    if isinstance(tree, dict) and isinstance(tree.get("state_dict"), dict):
        tree = tree["state_dict"]
    if not isinstance(tree, dict):
        raise WeightsError(
            f"{path} holds a {type(tree).__name__} where a state_dict is needed; save"
            " net.state_dict() instead"
        )
    others = [key for key, leaf in tree.items() if not isinstance(leaf, Tensor)]
    if tree and len(others) == len(tree):
        raise WeightsError(
            f"{path} holds no state_dict: its entries are {_listed(tree)}; save the one that"
            " belongs to this network as a file of its own"
        )
    if others or not all(isinstance(key, str) for key in tree):
        raise WeightsError(
            f"{path} holds entries that are not named tensors beside tensors:"
            f" {_listed(others or tree)}; save the state_dict alone"
        )
    return tree


def _read_npz(path: pathlib.Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    found = {}
    for info in archive.infolist():
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise ValueError(f"{info.filename} has npy version {version}")
            shape, fortran, dtype = read_header(stream)
            key = info.filename.removesuffix(".npy")
            if dtype.kind not in "fiub":
                raise WeightsError(
                    f"{path}: {shown(key)} holds {shown(str(dtype))}, not numbers; save it as"
                    " float32"
                )
            data = stream.read()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{info.filename} has {len(data)} bytes, not those of {shape}")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        found[key] = values.astype(dtype.newbyteorder("="), copy=False)
    return found


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            keys = list(file.keys())
            types = {key: file.get_slice(key).get_dtype() for key in keys}
            for key, dtype in types.items():
                if dtype not in _SAFETENSORS_TYPES:
                    raise WeightsError(
                        f"{path}: {shown(key)} holds {dtype} numbers; save it as float32"
                    )
            return {key: file.get_tensor(key) for key in keys}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is truncated or damaged ({shown(str(error))}); {REMEDY}"
        ) from error


def _without_prefix(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = "module."
    if all(key.startswith(prefix) for key in tensors):
        return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return dict(tensors)
