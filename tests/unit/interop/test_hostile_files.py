"""Weight files that would run something, or lie about their sizes."""

import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_file import read_state_dict


def refusal(path):
    with pytest.raises(WeightsError) as error:
        read_state_dict(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text
    return text


def text(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def payloads(marker):
    """Opcodes that make a file when `pickle` reads them, and what they call."""
    shell = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    arguments = b"(" + text(shell) + b"t"
    short = b"\x8c\x02os\x8c\x06system\x93"
    return {
        "reduce": (b"cos\nsystem\n" + arguments + b"R", "os.system"),
        "posix": (b"cposix\nsystem\n" + arguments + b"R", "posix.system"),
        "stack global": (short + arguments + b"R", "os.system"),
        "inst": (b"(" + text(shell) + b"ios\nsystem\n", "os.system"),
        "obj": (b"(cos\nsystem\n" + text(shell) + b"o", "os.system"),
        "eval": (b"cbuiltins\neval\n(" + text(python) + b"tR", "builtins.eval"),
        "python 2": (b"c__builtin__\nexec\n(" + text(python) + b"tR", "__builtin__.exec"),
        "getattr": (
            b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n("
            + (text("os") + b"tR" + text("system") + b"tR" + arguments + b"R"),
            "builtins.getattr",
        ),
        "build": (
            # An object whose state says what it calls.
            b"cfunctools\npartial\n(cos\nsystem\ntR(cos\nsystem\n" + arguments + b"}Ntb)R",
            "functools.partial",
        ),
    }


KINDS = tuple(payloads(""))


@pytest.mark.parametrize("kind", KINDS)
def test_payloads_do_run_in_a_reader_that_trusts(tmp_path, kind):
    marker = tmp_path / "marker"
    code, _ = payloads(marker)[kind]
    pickle.loads(b"\x80\x02" + code + b".")
    assert marker.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["state_dict", "optimizer", "key", "storage", "whole"])
def test_a_file_that_calls_is_refused_and_nothing_runs(torch_zip, tmp_path, kind, place):
    marker = tmp_path / "marker"
    code, called = payloads(marker)[kind]
    evil = torch_zip.Code(code)
    held = torch_zip.storage("FloatStorage", "0", 2)
    if place == "storage":
        held = torch_zip.Code(torch_zip.encode(("storage", evil, "0", "cpu", 2)) + b"Q")
    tensor = torch_zip.tensor(held, 0, (2,), (1,))
    tree = {
        "state_dict": {"a": tensor, **({"b": evil} if place == "state_dict" else {})},
        "optimizer": {"state": {0: {"step": evil if place == "optimizer" else 1}}},
        evil if place == "key" else "global_step": 1,
    }
    path = tmp_path / "x.pth"
    torch_zip.write(path, evil if place == "whole" else tree, {"0": bytes(8)})
    found = refusal(path)
    assert f"wants to call {called}, which tensors do not need" in found
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("models.landmark_generator", "Landmark_generator"),
        ("collections", "OrderedDict.fromkeys"),
        ("talkface_jax.interop.torch_zip", "TorchZip"),
    ],
)
def test_names_beside_those_of_tensors_are_refused(torch_zip, tmp_path, module, attribute):
    path = torch_zip.write(tmp_path / "x.pth", {"a": torch_zip.name(module, attribute)}, {})
    assert f"{module}.{attribute}" in refusal(path)


@pytest.mark.parametrize("opcodes", [b")\x81", b")}\x92", b"N}b", b"0N"])
def test_classes_are_refused_whatever_is_done_with_them(torch_zip, tmp_path, opcodes):
    code = torch_zip.Code(b"csubprocess\nPopen\n" + opcodes)
    path = torch_zip.write(tmp_path / "x.pth", {"optimizer": {"b": code}}, {})
    assert "wants to call subprocess.Popen" in refusal(path)


def test_a_name_cannot_spoil_the_message(torch_zip, tmp_path):
    pushed = torch_zip.Code(text("a\x1b[2J\nb") + text("x" * 5000) + b"\x93")
    found = refusal(torch_zip.write(tmp_path / "x.pth", {"a": pushed}, {}))
    assert "a?[2J?b.xxx" in found and len(found) < 600


@pytest.mark.parametrize(
    "target",
    [
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch", "FloatStorage"),
        ("torch", "float32"),
        ("collections", "OrderedDict"),
    ],
)
@pytest.mark.parametrize(
    "state",
    [
        {"function": 1, "dtype": 1, "name": 1, "__call__": 1},
        (None, {"function": 1}),
        (None, {"name": 1}),
        (None, {"__class__": 1}),
        (3, ">", None, None, None, -1, -1, 0),
        [1, 2],
    ],
    ids=["attributes", "slot function", "slot name", "class", "dtype state", "fields"],
)
def test_a_file_cannot_change_what_it_got_hold_of(torch_zip, tmp_path, target, state):
    """BUILD sets attributes; what is shared between files must not have any."""
    changed = torch_zip.Code(torch_zip.name(*target).code + torch_zip.encode(state) + b"b")
    path = torch_zip.write(tmp_path / "x.pth", {"a": changed}, {})
    assert "is damaged" in refusal(path)
    good = {"a": np.arange(3, dtype=np.float32)}
    read = read_state_dict(torch_zip.save(tmp_path / "y.pth", good))
    np.testing.assert_array_equal(read["a"], good["a"])
    assert np.dtype("float32").isnative


@pytest.mark.parametrize(
    "code",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n)\x81",
        b"ccollections\nOrderedDict\n)}\x92",
        b"\x82\x01",
        b"Pposix.system\n",
        b"ccollections\nOrderedDict\n(I1\nI2\nI3\ntR",
        b"ctorch._utils\n_rebuild_tensor_v2\n(I1\ntR",
        b"ctorch\nFloatStorage\n)R",
        b"N]s",
        b"(" * 100 + b"t" * 99,
        b"\x8d" + (2**62).to_bytes(8, "little"),
    ],
    ids=[
        *("newobj", "newobj_ex", "extension", "text id", "arguments", "few arguments"),
        *("call of a type", "not a dict", "open marks", "huge text"),
    ],
)
def test_malformed_opcodes(torch_zip, tmp_path, code):
    path = torch_zip.write(tmp_path / "x.pth", {"a": torch_zip.Code(code)}, {})
    assert "is damaged" in refusal(path)


def test_one_number_does_not_take_the_memory(torch_zip, tmp_path):
    code = torch_zip.Code(b"Nr" + (2**31 - 1).to_bytes(4, "little"))
    path = torch_zip.write(tmp_path / "x.pth", {"a": code}, {})
    tracemalloc.start()
    try:
        assert "object number 2147483647" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


DEEP = 1_000_000


@pytest.mark.parametrize(
    "code",
    [
        b"}" + b")" + b"\x85" * DEEP + b"Ns",
        # The same through the memo, with something else in between.
        b"})q\x000" + b"h\x00\x85q\x000]N\x61\x30" * (DEEP // 4) + b"h\x00Ns",
        # The same with marks that are taken back.
        b"})" + b"(0\x85" * (DEEP // 2) + b"Ns",
        b"})" + b"N(0\x86" * (DEEP // 2) + b"Ns",
    ],
    ids=["in a row", "memo", "marks", "pairs"],
)
def test_deep_keys_do_not_end_the_process(torch_zip, tmp_path, code):
    path = torch_zip.write(tmp_path / "x.pth", {"a": torch_zip.Code(code)}, {})
    assert "tuples in tuples" in refusal(path)


HUGE = 2**40


@pytest.mark.parametrize(
    ("items", "offset", "shape", "strides", "part"),
    [
        (8, 1, (8,), (1,), "reaches to element 9 of storage data/0, which holds 8"),
        (8, 0, (2, 8), (1, 1), "reaches to element 9"),
        (8, 0, (2,), (HUGE,), "reaches to element"),
        (8, HUGE, (), (), "reaches to element"),
        (8, 0, (HUGE,), (1,), "reaches to element"),
        (8, -1, (8,), (1,), "header that torch does not write"),
        (8, 7, (8,), (-1,), "header that torch does not write"),
        (8, 0, (-8,), (1,), "header that torch does not write"),
        (8, 0, (8.0,), (1,), "header that torch does not write"),
        (8, 0, (8,), (1, 1), "strides"),
        (8, 0, "8", (1,), "header that torch does not write"),
        (9, 0, (8,), (1,), "should hold 36 bytes and holds 32"),
        (7, 0, (7,), (1,), "should hold 28 bytes and holds 32"),
        (HUGE, 0, (8,), (1,), "should hold"),
        (-8, 0, (), (), "should hold"),
        ("8", 0, (8,), (1,), "a storage has a header"),
        (8, 0, (1,) * 99, (1,) * 99, "cannot have shape"),
        (8, 0, (HUGE, HUGE), (0, 0), "cannot have shape"),
        (8, 0, (0, HUGE, HUGE), (1, 1, 1), "cannot have shape"),
    ],
)
def test_lying_headers(torch_zip, tmp_path, items, offset, shape, strides, part):
    tensor = torch_zip.tensor(torch_zip.storage("FloatStorage", "0", items), offset, shape, strides)
    path = torch_zip.write(tmp_path / "x.pth", {"a": tensor}, {"0": bytes(32)})
    tracemalloc.start()
    try:
        assert part in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_missing_storages_and_compressed_files(torch_zip, tmp_path):
    tensor = torch_zip.tensor(torch_zip.storage("FloatStorage", "7", 2), 0, (2,), (1,))
    path = torch_zip.write(tmp_path / "x.pth", {"a": tensor}, {"0": bytes(8)})
    assert "storage data/7 is missing" in refusal(path)
    torch_zip.write(path, {"a": tensor}, {"7": bytes(8)}, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(path)


def test_directory_that_promises_more_than_the_file_has(torch_zip, tmp_path):
    tensor = torch_zip.tensor(torch_zip.storage("FloatStorage", "0", 2**28), 0, (2**28,), (1,))
    path = torch_zip.write(tmp_path / "x.pth", {"a": tensor}, {"0": bytes(8)})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
    # Compressed and real size in the central directory.
    data[entry + 20 : entry + 28] = (2**30).to_bytes(4, "little") * 2
    path.write_bytes(data)
    assert "more than the file has" in refusal(path)


def test_random_pickles_are_refused_or_read(torch_zip, tmp_path):
    """Damage behind a right checksum: nothing but the one error, and nothing made."""
    held = torch_zip.storage("FloatStorage", "0", 4)
    tree = {"state_dict": {"a": torch_zip.tensor(held, 0, (2, 2), (2, 1))}, "optimizer": [1, "x"]}
    whole = b"\x80\x02" + torch_zip.encode(tree) + b"."
    rng, before, refused = np.random.default_rng(1), set(os.listdir(tmp_path)), 0
    for _ in range(600):
        data = bytearray(whole)
        for position in rng.integers(2, len(data), rng.integers(1, 4)):
            data[position] = rng.integers(0, 256)
        path = torch_zip.write(tmp_path / "x.pth", bytes(data), {"0": bytes(16)})
        try:
            read_state_dict(path)
        except WeightsError:
            refused += 1
    assert refused > 300
    assert set(os.listdir(tmp_path)) - before == {"x.pth"}
