"""The two public releases, thin, in the layouts in which they are released: taken whole, network
by network, and written back."""

import functools
import hashlib
import json
import re

import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.cli import main as cli
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, ConfigError, WeightsError
from talkface_jax.interop import torch_file
from talkface_jax.interop.torch_rules import flatten
from talkface_jax.methods import registry
from talkface_jax.methods.emoconv import torch_map_facevid2vid, torch_map_liveportrait
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.train import checkpoint
from tests.helpers import thin_generators, torch_zip

THIN = {
    "facevid2vid": GeneratorConfig(facevid2vid=thin_generators.FACEVID2VID),
    "liveportrait": GeneratorConfig(
        family="liveportrait", liveportrait=thin_generators.LIVEPORTRAIT
    ),
}
PLAYERS = {
    "facevid2vid": {"kp_detector": "detector", "he_estimator": "pose", "generator": "generator"},
    "liveportrait": {
        "appearance_feature_extractor": "appearance",
        "motion_extractor": "motion",
        "warping_module": "warping",
        "spade_generator": "decoder",
        "stitching": "stitching",
        "lip": "lips",
        "eye": "eyes",
    },
}
NETWORKS = [(family, name) for family, players in PLAYERS.items() for name in players]
CORRECTIONS = "retargeting_models/stitching_retargeting_module.pth"
ADAM = {
    "state": {0: {"step": 3, "exp_avg": np.ones((2, 2), np.float32)}},
    "param_groups": [{"lr": 2e-4, "betas": (0.5, 0.999), "amsgrad": False, "params": [0]}],
}


@pytest.fixture(autouse=True, scope="module")
def thin_decoders():
    """The sizes that the face-vid2vid code cannot be told do not matter here; networks are traced
    once."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (torch_map_facevid2vid, torch_map_liveportrait):
            patch.setattr(module, "shapes", functools.cache(module.shapes))
        patch.setattr(torch_map_facevid2vid, "require", lambda *_args, **_named: None)
        yield


@pytest.fixture(scope="module")
def given():
    """Variables by family and network."""
    return {
        (family, name): thin_generators.filled(
            registry.torch_networks("emoconv")[family].networks[name].template(THIN[family]),
            seed=seed,
        )
        for seed, (family, name) in enumerate(NETWORKS)
    }


@pytest.fixture(scope="module")
def state_dicts(given):
    networks = registry.torch_networks("emoconv")
    return {
        (family, name): networks[family].networks[name].write(variables, THIN[family])
        for (family, name), variables in given.items()
    }


@pytest.fixture(scope="module")
def released(state_dicts, tmp_path_factory):
    """The file of face-vid2vid and the folder of LivePortrait; not to be changed."""
    root = tmp_path_factory.mktemp("released")
    file, folder = root / "00000189-checkpoint.pth.tar", root / "liveportrait"
    networks = {name: state_dicts["facevid2vid", name] for name in PLAYERS["facevid2vid"]}
    others = ("generator", "discriminator", "kp_detector", "he_estimator")
    optimizers = {f"optimizer_{name}": ADAM for name in others}
    discriminator = {"discs.1.conv.weight": np.ones((2, 2), np.float32)}
    whole = {"discriminator": discriminator, **networks, **optimizers, "epoch": 189}
    torch_zip.save(file, whole)
    for name in ("base_models", "retargeting_models"):
        (folder / name).mkdir(parents=True)
    for name in list(PLAYERS["liveportrait"])[:4]:
        torch_zip.save(folder / f"base_models/{name}.pth", state_dicts["liveportrait", name])
    entries = {"retarget_shoulder": "stitching", "retarget_mouth": "lip", "retarget_eye": "eye"}
    corrections = {
        entry: {f"module.{key}": x for key, x in state_dicts["liveportrait", name].items()}
        for entry, name in entries.items()
    }
    torch_zip.save(folder / CORRECTIONS, corrections)
    return {"facevid2vid": file, "liveportrait": folder}


def convert(stage, weights, out, **more):
    experiment = ExperimentConfig("emoconv", "generator", THIN[stage.partition("/")[0]])
    return api.convert(
        weights, method="emoconv", stage=stage, out=out, experiment=experiment, **more
    )


@pytest.fixture(scope="module")
def converted(released, tmp_path_factory):
    """What was made, by family."""
    root = tmp_path_factory.mktemp("converted")
    terms = {"facevid2vid": "not stated", "liveportrait": None}
    return {
        family: convert(family, path, root / family, terms=terms[family])
        for family, path in released.items()
    }


def assert_same(stored, expected):
    stored, expected = (
        {path: x for path, x in flatten(tree).items() if "constants" not in path and x is not None}
        for tree in (stored, expected)
    )
    assert set(stored) == set(expected)
    for path, array in expected.items():
        np.testing.assert_allclose(stored[path], array, rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("family", PLAYERS)
def test_every_network_of_a_release_is_read(converted, given, family):
    made = converted[family]
    stored, _ = checkpoint.load_params(made.out)
    assert {item.name: item.player for item in made.networks} == PLAYERS[family]
    assert set(stored) == set(PLAYERS[family].values())
    for name, player in PLAYERS[family].items():
        assert_same(stored[player], given[family, name])
    values = json.loads((made.out / "config.json").read_text())
    assert (values["method"], values["stage"]) == ("emoconv", "generator")
    assert values["task"]["family"] == family


def test_what_was_read_and_what_was_not(converted, state_dicts):
    made = converted["facevid2vid"]
    assert made.left_out == (
        "discriminator",
        "optimizer_generator",
        "optimizer_discriminator",
        "optimizer_kp_detector",
        "optimizer_he_estimator",
        "epoch",
    )
    assert converted["liveportrait"].left_out == ()
    detector = made.networks[0]
    keys = state_dicts["facevid2vid", "kp_detector"]
    ignored = {key for key in keys if key.endswith("tracked") or key == "down.weight"}
    assert set(detector.ignored) == ignored
    assert detector.tensors == len(keys) - len(ignored)
    assert detector.source == "00000189-checkpoint.pth.tar"
    sources = {item.name: item.source for item in converted["liveportrait"].networks}
    assert sources["motion_extractor"] == "base_models/motion_extractor.pth"
    assert sources["lip"] == sources["eye"] == CORRECTIONS


def test_lineage_of_every_file(converted, released):
    lineage = checkpoint.load_params(converted["liveportrait"].out)[1]["lineage"]
    assert lineage["release"] == "liveportrait"
    assert lineage["terms"] == "unknown; ask who trained these weights"
    assert "talkface_jax" in lineage["converted_by"]
    assert len(lineage["files"]) == 5
    for file in lineage["files"]:
        content = (released["liveportrait"] / file["source"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["format"] == "torch.save"
    assert lineage["files"][-1]["networks"] == ["stitching", "lip", "eye"]
    lineage = checkpoint.load_params(converted["facevid2vid"].out)[1]["lineage"]
    assert lineage["terms"] == "not stated"
    (file,) = lineage["files"]
    assert file["source"] == "00000189-checkpoint.pth.tar"
    assert file["networks"] == list(PLAYERS["facevid2vid"])


@pytest.mark.parametrize(("family", "name"), NETWORKS)
def test_back_to_pytorch_and_here_again(converted, given, state_dicts, tmp_path, family, name):
    path, stage = tmp_path / "net.safetensors", f"{family}/{name}"
    file = api.to_torch(converted[family].out, method="emoconv", stage=stage, out=path)
    expected, written = state_dicts[family, name], torch_file.read_state_dict(path)
    assert file.tensors == len(expected)
    assert {key: x.shape for key, x in written.items()} == {
        key: x.shape for key, x in expected.items()
    }
    for key, array in expected.items():
        if not re.search(r"weight_(orig|u|v)$", key):
            np.testing.assert_array_equal(written[key], array, err_msg=key)
    made = convert(stage, path, tmp_path / "again")
    (player,) = (item.player for item in made.networks)
    stored, info = checkpoint.load_params(tmp_path / "again", [player])
    assert_same(stored[player], given[family, name])
    assert info["lineage"]["source"] == "net.safetensors" and "entry" not in info["lineage"]


@pytest.mark.parametrize(("family", "name"), [NETWORKS[1], NETWORKS[4], NETWORKS[-1]])
def test_one_network_of_a_release(released, given, tmp_path, family, name):
    place = registry.torch_networks("emoconv")[family].networks[name].place
    path = released[family] / place.file if place.file else released[family]
    made = convert(f"{family}/{name}", path, tmp_path / "one")
    stored, info = checkpoint.load_params(tmp_path / "one")
    player = PLAYERS[family][name]
    assert list(stored) == [player] and len(made.networks) == 1
    assert_same(stored[player], given[family, name])
    assert info["lineage"].get("entry", "") == place.entry
    assert info["lineage"]["source"] == path.name


def test_what_the_command_says(released, tmp_path, capsys, monkeypatch):
    """With the thin sizes in the place of the published ones."""
    from talkface_jax.methods.emoconv import torch_map

    networks = {
        name: network.within(lambda: THIN["facevid2vid"], lambda config: config)
        for name, network in torch_map.NETWORKS["facevid2vid"].networks.items()
    }
    release = torch_map.TorchRelease(networks, torch_map.NETWORKS["facevid2vid"].ignored)
    monkeypatch.setattr(torch_map, "NETWORKS", {"facevid2vid": release})
    names = ["--method=emoconv", f"--torch={released['facevid2vid']}"]
    out = tmp_path / "all"
    assert cli.main(["convert", *names, "--stage=facevid2vid", f"--out={out}"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(out))}: emoconv facevid2vid, [\d,]+ parameters of 3 networks", first
    )
    assert [line.partition(":")[0] for line in rest] == [
        *("detector", "pose", "generator", "left out", "terms")
    ]
    assert "tensors of 00000189-checkpoint.pth.tar; " in rest[0] and r"down\.weight" in rest[0]
    assert re.search(r"ignored by name \(\d+ x \.\*\\\.num_batches_tracked\)", rest[1])
    assert rest[3].startswith("left out: discriminator, optimizer_generator,")
    back = ["--method=emoconv", f"--from={out}", f"--to-torch={tmp_path / 'x.safetensors'}"]
    assert cli.main(["convert", *back, "--stage=facevid2vid/he_estimator"]) == 0
    assert "emoconv facevid2vid/he_estimator, " in capsys.readouterr().out


def test_what_is_refused(released, converted, tmp_path):
    out = tmp_path / "out"
    file, folder = released["facevid2vid"], released["liveportrait"]
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:5000])
    cases = [
        ("liveportrait", file, WeightsError, f"{file} is a file, where a folder with base_models/"),
        ("facevid2vid", folder, WeightsError, f"{folder} is a folder; give the path of a weight"),
        ("liveportrait", folder / "base_models", WeightsError, f"lacks {CORRECTIONS}; give"),
        ("facevid2vid", folder / CORRECTIONS, WeightsError, "has no entry kp_detector, he_est"),
        ("facevid2vid", cut, WeightsError, f"{cut} is truncated or damaged"),
        ("facevid2vid/generator", folder / CORRECTIONS, WeightsError, "holds no state_dict"),
        ("liveportrait/eye", file, WeightsError, "holds no state_dict"),
        ("liveportrait/nose", folder, ConfigError, "liveportrait/lip, liveportrait/eye"),
    ]
    for stage, path, kind, words in cases:
        with pytest.raises(kind) as error:
            convert(stage, path, out)
        assert words in str(error.value), str(error.value)
        assert ";" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match="not empty"):
        convert("liveportrait", folder, converted["liveportrait"].out)
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


def test_the_family_of_the_config_is_that_of_the_release(released, converted, tmp_path):
    other = ExperimentConfig("emoconv", "generator", THIN["liveportrait"])
    names = {"method": "emoconv", "stage": "facevid2vid", "experiment": other}
    with pytest.raises(ConfigError, match=r"task\.family is 'liveportrait', which the unofficial"):
        api.convert(released["facevid2vid"], out=tmp_path / "out", **names)
    out = tmp_path / "x.safetensors"
    workdir = converted["liveportrait"].out
    with pytest.raises(ConfigError, match=r"one; write each by its own --stage \(facevid2vid/kp_d"):
        api.to_torch(workdir, method="emoconv", stage="facevid2vid", out=out)
    with pytest.raises(CheckpointError, match="has no player 'pose', it has: appearance, "):
        api.to_torch(workdir, method="emoconv", stage="facevid2vid/he_estimator", out=out)
    assert not list(tmp_path.iterdir())


def test_published_sizes_are_the_defaults():
    from talkface_jax.methods.emoconv.torch_map import NETWORKS as RELEASES

    assert RELEASES["facevid2vid"].config() == GeneratorConfig()
    assert RELEASES["liveportrait"].config() == GeneratorConfig(family="liveportrait")
