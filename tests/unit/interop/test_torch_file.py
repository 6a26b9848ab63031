"""Reading weight files: every format, and everything that can be wrong with one.

data/real_torch_zip.pth was written by PyTorch 2.13: the state_dict of DataParallel around Linear(3,
2) and BatchNorm1d(2), after one step of Adam, in a dict such as IP-LAP's checkpoints are.
real_torch_legacy.pth is the same in PyTorch's format before 1.6.
"""

import hashlib
import pathlib
import shlex
import shutil
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_file import file_sha256, read_state_dict

DATA = pathlib.Path(__file__).parent / "data"
REAL = DATA / "real_torch_zip.pth"


def numbers(*shape, dtype=np.float32):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def message(path):
    """What a refused file is told, without its own path."""
    with pytest.raises(WeightsError) as error:
        read_state_dict(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text and not text.endswith(".")
    return text


def test_real_file_of_torch():
    read = read_state_dict(REAL)
    assert list(read) == [
        *("0.weight", "0.bias", "1.weight", "1.bias"),
        *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
    ]
    np.testing.assert_array_equal(read["0.weight"], [[0.0, 0.5, 1.0], [1.5, 2.0, 2.5]])
    np.testing.assert_array_equal(read["0.bias"], [-1.0, 0.25])
    np.testing.assert_array_equal(read["1.weight"], [1.5, 1.5])
    np.testing.assert_array_equal(read["1.running_mean"], [0.5, -0.5])
    np.testing.assert_array_equal(read["1.running_var"], [2.0, 2.0])
    assert read["0.weight"].dtype == np.float32
    count = read["1.num_batches_tracked"]
    assert count.shape == () and count.dtype == np.int64 and count == 3


def test_name_of_the_file_decides_nothing(tmp_path):
    expected = read_state_dict(REAL)
    for name in ("weights.safetensors", "weights.npz", "weights"):
        copy = shutil.copy(REAL, tmp_path / name)
        np.testing.assert_array_equal(
            read_state_dict(pathlib.Path(copy))["0.weight"], expected["0.weight"]
        )


@pytest.mark.parametrize(
    "dtype",
    [
        *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.bool_),
        *(np.int8, np.int16, np.int32, np.int64, np.uint8),
    ],
)
def test_dtypes(torch_zip, tmp_path, dtype):
    array = (numbers(2, 3) - (0 if dtype in (np.bool_, np.uint8) else 2)).astype(dtype)
    read = read_state_dict(torch_zip.save(tmp_path / "x.pth", {"a": array}))["a"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_dtype_without_a_storage_class(torch_zip, tmp_path):
    array = numbers(6, dtype=np.uint16)
    held = torch_zip.storage("storage.UntypedStorage", "0", array.nbytes)
    tensor = torch_zip.call(
        torch_zip.name("torch._utils", "_rebuild_tensor_v3"),
        *(held, 1, (2, 2), (2, 1), False, {}, torch_zip.name("torch", "uint16")),
    )
    path = torch_zip.write(tmp_path / "x.pth", {"a": tensor}, {"0": array.tobytes()})
    read = read_state_dict(path)["a"]
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        (0, (3, 4), (4, 1), numbers(3, 4)),
        (0, (4, 3), (1, 4), numbers(3, 4).T),
        (5, (2, 2), (4, 2), numbers(3, 4)[1:, 1::2]),
        (11, (), (), np.float32(11)),
        (7, (3, 2), (0, 0), np.full((3, 2), 7)),
        (12, (0, 3), (3, 1), np.zeros((0, 3))),
    ],
    ids=["whole", "transposed", "slice", "scalar", "expanded", "empty"],
)
def test_views_of_one_storage(torch_zip, tmp_path, offset, shape, strides, expected):
    held = torch_zip.storage("FloatStorage", "0", 12)
    tree = {"all": torch_zip.tensor(held, 0, (12,), (1,))}
    tree["view"] = torch_zip.tensor(held, offset, shape, strides)
    path = torch_zip.write(tmp_path / "x.pth", tree, {"0": numbers(12).tobytes()})
    read = read_state_dict(path)
    np.testing.assert_array_equal(read["view"], expected)
    assert read["view"].shape == np.shape(expected)
    np.testing.assert_array_equal(read["all"], numbers(12))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float16, ml_dtypes.bfloat16, np.uint8])
def test_big_endian_files_and_old_ones_without_a_byte_order(torch_zip, tmp_path, dtype):
    array = numbers(5).astype(dtype)
    kind = torch_zip.KINDS[array.dtype.name]
    tree = {"a": torch_zip.tensor(torch_zip.storage(kind, "0", 5), 0, (5,), (1,))}
    swapped = array.view(f"u{array.itemsize}").byteswap().tobytes()
    big = torch_zip.write(tmp_path / "big.pth", tree, {"0": swapped}, byteorder=b"big")
    np.testing.assert_array_equal(read_state_dict(big)["a"], array)
    old = torch_zip.write(tmp_path / "old.pth", tree, {"0": array.tobytes()}, byteorder=None)
    np.testing.assert_array_equal(read_state_dict(old)["a"], array)
    odd = torch_zip.write(tmp_path / "odd.pth", tree, {"0": swapped}, byteorder=b"middle")
    assert "middle" in message(odd)


def test_parameters_and_metadata_are_unwrapped(torch_zip, tmp_path):
    tensor = torch_zip.tensor(torch_zip.storage("FloatStorage", "0", 2), 0, (2,), (1,))
    wrapped = [
        torch_zip.call(torch_zip.name("torch._utils", function), tensor, True, {}, *state)
        for function, state in (
            ("_rebuild_parameter", ()),
            ("_rebuild_parameter_with_state", ({"note": 1},)),
        )
    ]
    pairs = [["a", wrapped[0]], ["b", wrapped[1]]]
    ordered = torch_zip.call(torch_zip.name("collections", "OrderedDict"), pairs)
    # As a state_dict carries its modules' versions.
    state = torch_zip.encode({"_metadata": {"": {"version": 1}}, "keys": 1, "items": 1, "get": 1})
    tree = torch_zip.Code(ordered.code + state + b"b")
    sizes = torch_zip.call(torch_zip.name("torch", "Size"), (1, 2))
    whole = {"state_dict": tree, "optimizer": [1, 2.5, None, True, (sizes, {3: tensor})]}
    read = read_state_dict(torch_zip.write(tmp_path / "x.pth", whole, {"0": numbers(2).tobytes()}))
    assert list(read) == ["a", "b"]
    np.testing.assert_array_equal(read["b"], [0, 1])


def test_only_a_common_prefix_is_removed(torch_zip, tmp_path):
    both = {"module.a": numbers(1), "module.b": numbers(2)}
    assert list(read_state_dict(torch_zip.save(tmp_path / "x.pth", both))) == ["a", "b"]
    mixed = {"module.a": numbers(1), "b": numbers(2)}
    assert list(read_state_dict(torch_zip.save(tmp_path / "x.pth", mixed))) == ["module.a", "b"]


def test_safetensors_and_npz(tmp_path):
    tensors = {
        "module.a": numbers(2, 3),
        "module.b": np.array(3, np.int64),
        "module.c": np.asfortranarray(numbers(2, 3, dtype=np.float16)),
    }
    dense = {key: np.asarray(tensor, order="C") for key, tensor in tensors.items()}
    save_file({**dense, "module.d": numbers(2).astype(ml_dtypes.bfloat16)}, tmp_path / "a.pth")
    np.savez(tmp_path / "b.npz", allow_pickle=False, **tensors)
    np.savez_compressed(tmp_path / "c.npz", allow_pickle=False, **tensors)
    for name in ("a.pth", "b.npz", "c.npz"):
        read = read_state_dict(tmp_path / name)
        for key, tensor in tensors.items():
            found = read[key.removeprefix("module.")]
            assert found.dtype == tensor.dtype and found.shape == tensor.shape
            np.testing.assert_array_equal(found, tensor)
    assert read_state_dict(tmp_path / "a.pth")["d"].dtype == ml_dtypes.bfloat16


def test_npz_that_is_no_set_of_numbers(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{"b": 1}], object))
    assert "a holds object" in message(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", a=np.zeros(4, np.float32))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        member = archive.read("a.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", member.replace(b"(4,)", b"(9000000000000,)"))
    assert "a.npy" in message(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("tree", "part"),
    [
        ({"model": {"a": numbers(1)}, "ema": {"a": numbers(1)}}, "its entries are model, ema"),
        ({"a": numbers(1), "epoch": 3, "lr": 0.1}, "epoch, lr"),
        ({"state_dict": {"a": numbers(1), "names": ["x"]}}, "names"),
        ({str(i): i for i in range(99)}, "0, 1, 2, 3, 4, …"),
        ({1: numbers(1)}, "not named tensors"),
        ({}, "no tensors"),
        (numbers(1), "where a state_dict is needed"),
        ([1], "holds a list"),
    ],
    ids=["nested", "beside", "in the entry", "many", "number as key", "empty", "tensor", "list"],
)
def test_what_is_no_state_dict(torch_zip, tmp_path, tree, part):
    assert part in message(torch_zip.save(tmp_path / "x.pth", tree))


def test_missing_empty_and_foreign_files(tmp_path):
    assert "No such file" in message(tmp_path / "absent.pth")
    assert "is a folder" in message(tmp_path)
    for content, part in (
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "not a weight file"),
        (b"\x80\x02}q\x00.", "not a weight file"),
        (b"PK", "truncated or damaged"),
    ):
        (tmp_path / "x.pth").write_bytes(content)
        assert part in message(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "neither of torch.save" in message(tmp_path / "x.pth")


def command(text):
    """The Python program in the shell line that a message ends with."""
    words = shlex.split(text[text.index("python -c") :])
    assert words[:2] == ["python", "-c"] and len(words) == 3
    compile(words[2], "<line>", "exec")
    return words[2]


@pytest.mark.parametrize("name", ["old.pth", "it's $old.pth", 'a "b".pth', "a\\b.pth"])
def test_legacy_file_is_told_how_to_be_saved_again(tmp_path, name):
    path = tmp_path / name
    shutil.copy(DATA / "real_torch_legacy.pth", path)
    program = command(message(path))
    new = path.with_name(f"{path.stem}_new.pth")
    assert program == (
        f"import torch; torch.save(torch.load({str(path)!r}, map_location='cpu',"
        f" weights_only=True), {str(new)!r})"
    )


def test_tar_files_of_the_first_torch_and_programs(torch_zip, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"sys_info".ljust(257, b"\0") + b"ustar\0" + bytes(300))
    assert "weights_only=False" in command(message(path))
    torch_zip.write(path, {"a": 1}, {}, root="x")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/code/__torch__.py", "")
    assert "torch.jit.load" in command(message(path))


def test_truncated_files(tmp_path):
    save_file({"a": numbers(300)}, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", a=numbers(300))
    for source in (REAL, tmp_path / "x.safetensors", tmp_path / "x.npz"):
        whole, path = source.read_bytes(), tmp_path / "cut"
        for length in (1, 5, 9, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            message(path)


def test_flipped_bytes_are_found_or_change_nothing(tmp_path):
    whole, path = REAL.read_bytes(), tmp_path / "x.pth"
    expected, rng, refused = read_state_dict(REAL), np.random.default_rng(0), 0
    for position in rng.integers(0, len(whole), 400):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        try:
            read = read_state_dict(path)
        except WeightsError:
            refused += 1
            continue
        assert list(read) == list(expected)
        for key, array in expected.items():
            np.testing.assert_array_equal(read[key], array)
    assert refused > 100


def test_sha256(tmp_path):
    assert file_sha256(REAL) == hashlib.sha256(REAL.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match="cannot be read"):
        file_sha256(tmp_path / "absent")
