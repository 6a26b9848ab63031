"""Writes files of torch.save opcode by opcode: without torch, and wrong where a test asks so."""

import dataclasses
import pickle
import zipfile

import numpy as np

KINDS = {
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "bfloat16": "BFloat16Storage",
    "bool": "BoolStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
}


@dataclasses.dataclass(frozen=True)
class Code:
    """Opcodes that leave one object."""

    code: bytes


def encode(value):
    """Opcodes for plain containers, numbers and `Code`."""
    if isinstance(value, Code):
        return value.code
    if isinstance(value, dict):
        items = b"".join(encode(key) + encode(item) for key, item in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(encode, value)) + b"t"
    return pickle.dumps(value, protocol=2)[2:-1]


def name(module, attribute):
    return Code(f"c{module}\n{attribute}\n".encode())


def call(function, *arguments):
    return Code(encode(function) + encode(arguments) + b"R")


def storage(kind, key, items):
    """A storage by its class ("FloatStorage" or "storage.UntypedStorage"), member and length."""
    module, _, attribute = f"torch.{kind}".rpartition(".")
    return Code(encode(("storage", name(module, attribute), key, "cpu", items)) + b"Q")


def tensor(held, offset, shape, strides):
    hooks = call(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, held, offset, shape, strides, False, hooks)


def write(path, tree, members, *, byteorder=b"little", root="archive", compression=0):
    """A file with this object and these storages; `tree` may be a whole pickle."""
    data = tree if isinstance(tree, bytes) else b"\x80\x02" + encode(tree) + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", data)
        if byteorder is not None:
            archive.writestr(f"{root}/byteorder", byteorder)
        for key, content in members.items():
            archive.writestr(f"{root}/data/{key}", content)
        archive.writestr(f"{root}/version", b"3\n")
    return path


def save(path, tree):
    """As torch.save: dicts, numbers and arrays, each array with a storage of its own."""
    members = {}

    def replace(value):
        if isinstance(value, dict):
            return {key: replace(item) for key, item in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        key, steps = str(len(members)), np.cumprod((1, *value.shape[:0:-1]))[::-1]
        members[key] = value.tobytes()
        strides = tuple(int(step) for step in steps[: value.ndim])
        held = storage(KINDS[value.dtype.name], key, value.size)
        return tensor(held, 0, value.shape, strides)

    return write(path, replace(tree), members)


class TorchZip:
    """The functions above, for tests."""

    Code, KINDS = Code, KINDS
    encode, name, call = staticmethod(encode), staticmethod(name), staticmethod(call)
    storage, tensor = staticmethod(storage), staticmethod(tensor)
    write, save = staticmethod(write), staticmethod(save)
