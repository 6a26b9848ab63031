"""Releases of several networks: where each lies, and what of a file or folder is refused."""

import jax
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_network import Place, TorchNetwork
from talkface_jax.interop.torch_release import TorchRelease, find_network, networks_by_name
from talkface_jax.interop.torch_rules import Rule, write_safetensors
from tests.helpers import torch_zip


def network(player, size, *, stage="toy", **place):
    leaf = jax.ShapeDtypeStruct((size,), np.float32)
    return TorchNetwork(
        stage=stage,
        player=player,
        config=dict,
        rules=lambda config: (Rule(r"layer\.bias", ("params/bias",)), Rule(r"steps")),
        template=lambda config: {"params": {"bias": leaf}},
        place=Place(**place),
    )


def tensors(size, start=0.0, prefix=""):
    bias = np.arange(size, dtype=np.float32) + np.float32(start)
    return {f"{prefix}layer.bias": bias}


ONE = TorchRelease(
    {"lion": network("a", 2, entry="lion"), "bear": network("b", 3, entry="bear")},
    ignored=(r"optimizer_\w+", "epoch"),
)
OPTIMIZER = {"state": {0: {"step": 7, "exp_avg": np.ones(2, np.float32)}}, "param_groups": [3]}
WHOLE = {
    "lion": tensors(2),
    "optimizer_lion": OPTIMIZER,
    "bear": tensors(3, 5, "module."),
    "epoch": 9,
}
PLACES = ("base/lion.pth", "more/both.pth")
FOLDER = TorchRelease(
    {
        "lion": network("a", 2, file=PLACES[0]),
        "bear": network("b", 3, file=PLACES[1], entry="bear"),
        "wolf": network("c", 4, file=PLACES[1], entry="wolf"),
    }
)


def read(found):
    return {
        item.network.player: item.network.read(item.tensors(), {}, source=str(item))[0]["params"][
            "bias"
        ].tolist()
        for item in found.sources
    }


def saved(path, tree):
    path.parent.mkdir(parents=True, exist_ok=True)
    return torch_zip.save(path, tree)


def folder(root, *, nested=True):
    for place, tree in (
        (PLACES[0], tensors(2)),
        (PLACES[1], {"bear": tensors(3, 5), "wolf": tensors(4, 8, "module.")}),
    ):
        saved(root / (place if nested else place.rpartition("/")[2]), tree)
    return root


def refusal(release, path):
    with pytest.raises(WeightsError) as error:
        read(release.find(path))
    text = str(error.value)
    assert str(path) in text and "\n" not in text and ";" in text
    return text


def test_one_file(tmp_path):
    found = ONE.find(saved(tmp_path / "x.tar", WHOLE))
    assert read(found) == {"a": [0, 1], "b": [5, 6, 7]}
    assert found.left_out == ("optimizer_lion", "epoch")
    assert [item.name for item in found.sources] == ["lion", "bear"]


@pytest.mark.parametrize("nested", [True, False])
def test_a_folder_as_released_or_flat(tmp_path, nested):
    (tmp_path / "readme.txt").write_text("others")
    found = FOLDER.find(folder(tmp_path, nested=nested))
    assert read(found) == {"a": [0, 1], "b": [5, 6, 7], "c": [8, 9, 10, 11]}
    assert found.left_out == ()


WRONG = {
    "missing": ({**WHOLE, "bear": None}, "holds a NoneType as its entry bear"),
    "none": ({"lion": tensors(2), "epoch": 3}, "has no entry bear (it holds lion, epoch)"),
    "flat": (tensors(2), "has no entry lion, bear (it holds layer.bias)"),
    "list": ([1], "has no entry lion, bear (it holds none)"),
    "more": ({**WHOLE, "puma": tensors(2)}, "an entry puma, which this release does not have"),
    "number": ({**WHOLE, "bear": {"layer.bias": 3}}, "(bear) holds no state_dict"),
    "other": ({**WHOLE, "bear": tensors(2)}, "(bear): layer.bias has shape (2,)"),
    "empty": ({**WHOLE, "bear": {}}, "(bear) holds no tensors"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_not_the_release(tmp_path, case):
    tree, words = WRONG[case]
    assert words in refusal(ONE, saved(tmp_path / "x.tar", tree))


def test_other_kinds_of_files(tmp_path):
    path = tmp_path / "x"
    assert "No such file" in refusal(ONE, path)
    assert "is a folder" in refusal(ONE, tmp_path)
    whole = saved(path, WHOLE).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal(ONE, path)
    write_safetensors(path, tensors(2), {})
    assert "has no entry lion, bear" in refusal(ONE, path)


def test_a_program_in_an_entry_that_is_left_out_is_refused(tmp_path):
    marker = tmp_path / "marker"
    call = torch_zip.call(torch_zip.name("os", "system"), f"touch {marker}")
    path = saved(tmp_path / "x.tar", {**WHOLE, "epoch": call})
    assert "wants to call os.system" in refusal(ONE, path)
    assert not marker.exists()


def test_folders_that_are_not_the_release(tmp_path):
    root = folder(tmp_path / "root")
    assert "is a file, where a folder with base/lion.pth, more/both" in refusal(
        FOLDER, root / PLACES[0]
    )
    assert "does not exist, where a folder" in refusal(FOLDER, tmp_path / "none")
    assert "lacks base/lion.pth, more/both.pth; give" in refusal(FOLDER, tmp_path)
    folder(root, nested=False)
    assert "both " in refusal(FOLDER, root)
    (root / "both.pth").unlink()
    (root / "lion.pth").unlink()
    (root / PLACES[1]).unlink()
    assert "lacks more/both.pth; give" in refusal(FOLDER, root)
    (root / PLACES[1]).mkdir()
    assert f"{root / PLACES[1]} is a folder" in refusal(FOLDER, root)


def test_one_network_of_a_release(tmp_path):
    bear = ONE.networks["bear"]
    whole = find_network("bear", bear, saved(tmp_path / "whole", WHOLE))
    assert read(whole) == {"b": [5, 6, 7]}
    assert whole.left_out == ("lion", "optimizer_lion", "epoch")
    alone = tmp_path / "alone"
    write_safetensors(alone, tensors(3, 1), {})
    for path in (alone, saved(tmp_path / "zip", tensors(3, 1))):
        found = find_network("bear", bear, path)
        assert read(found) == {"b": [1, 2, 3]} and found.left_out == ()


def test_one_network_of_a_folder(tmp_path):
    wolf = FOLDER.networks["wolf"]
    found = find_network("wolf", wolf, folder(tmp_path))
    assert read(found) == {"c": [8, 9, 10, 11]} and found.left_out == ("bear",)
    (tmp_path / PLACES[1]).unlink()
    with pytest.raises(WeightsError, match=r"lacks more/both.pth; give the folder"):
        find_network("wolf", wolf, tmp_path)


def test_names_of_releases_and_of_their_networks():
    found = networks_by_name({"zoo": ONE, "puma": network("p", 2)})
    assert list(found) == ["zoo", "zoo/lion", "zoo/bear", "puma"]
    assert found["zoo/bear"] is ONE.networks["bear"] and found["zoo"].stage == "toy"


def test_a_part_of_a_config():
    inner = TorchNetwork(
        stage="toy",
        player="a",
        config=tuple,
        rules=lambda size: (Rule(f"bias{size}", ("params/bias",)),),
        template=lambda size: {"params": {"bias": jax.ShapeDtypeStruct((size,), np.float32)}},
    )
    whole = inner.within(dict, lambda config: config["size"])
    assert whole.config() == {}
    found, _ = whole.read({"bias2": np.ones(2, np.float32)}, {"size": 2})
    assert found["params"]["bias"].shape == (2,)


@pytest.mark.parametrize(
    "networks",
    [
        {"a": network("a", 1), "b": network("b", 1, stage="other")},
        {"a": network("a", 1), "b": network("a", 1)},
        {"a": network("a", 1, file="x"), "b": network("b", 1, entry="b")},
    ],
    ids=["stages", "players", "files"],
)
def test_releases_that_are_none(networks):
    with pytest.raises(ValueError, match="release"):
        TorchRelease(networks)
