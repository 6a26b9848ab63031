"""The public latent-keypoint generators, key by key."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.interop.torch_rules import flatten, from_torch, to_torch, unflatten
from talkface_jax.methods.emoconv import torch_map_facevid2vid, torch_map_liveportrait
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig, LivePortraitConfig
from talkface_jax.models.convnext import ConvNextConfig
from talkface_jax.models.render.latent_keypoints.generator import LatentGeneratorConfig
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPoseConfig
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractorConfig
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoderConfig
from tests.helpers import thin_generators
from tests.helpers.thin_generators import filled

PARITY = pathlib.Path(__file__).parents[3] / "parity"
FAMILIES = {
    "facevid2vid": (torch_map_facevid2vid.NETWORKS, FaceVid2VidConfig()),
    "liveportrait": (torch_map_liveportrait.NETWORKS, LivePortraitConfig()),
}
NETWORKS = [(family, name) for family, (networks, _) in FAMILIES.items() for name in networks]
THIN = {
    "facevid2vid": thin_generators.FACEVID2VID,
    "liveportrait": thin_generators.LIVEPORTRAIT,
}
THIN_NETWORKS = [item for item in NETWORKS if item != ("facevid2vid", "generator")]


def manifest(family, name):
    """Keys and shapes of the official module."""
    values = json.loads((PARITY / family / "manifest.json").read_text())
    official = name if name in values else f"stitching_retargeting_module.{name}"
    shapes = dict(values[official])
    for stored in values["_note"]["stored"].get(official, {}).values():
        shapes |= stored
    if name == "kp_detector":
        # Left out of the manifest; the code registers it as a buffer.
        shapes["down.weight"] = [3, 1, 13, 13]
    return {key: tuple(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(("family", "name"), NETWORKS)
def test_written_keys_and_shapes_are_those_of_the_official_modules(family, name):
    networks, config = FAMILIES[family]
    network, expected = networks[name], manifest(family, name)
    if network.spectral:
        # As the rules see it: one tensor for each normalised weight.
        parts = ("weight_u", "weight_v")
        expected = {
            key.replace("weight_orig", "weight"): shape
            for key, shape in expected.items()
            if not key.endswith(parts)
        }
    template = network.template(config)
    empty = {
        path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in flatten(template).items()
    }
    tensors = to_torch(unflatten(empty), network.rules(config))
    assert {key: tensor.shape for key, tensor in tensors.items()} == expected


@pytest.mark.parametrize(("family", "name"), THIN_NETWORKS)
def test_everything_returns(family, name):
    network, config = FAMILIES[family][0][name], THIN[family]
    variables = filled(network.template(config))
    tensors = network.write(variables, config)
    back, left = network.read(tensors, config)
    assert set(left) == {key for key in tensors if key.endswith(("tracked", "down.weight"))}
    for path, array in flatten(variables).items():
        np.testing.assert_allclose(flatten(back)[path], array, rtol=1e-5, err_msg=path)
    again = network.write(back, config)
    assert set(again) == set(tensors)


def test_spectral_weights_are_written_as_the_official_code_reads_them():
    network, config = FAMILIES["liveportrait"][0]["spade_generator"], THIN["liveportrait"]
    tensors = network.write(filled(network.template(config)), config)
    triples = {key for key in tensors if key.endswith("weight_u")}
    assert triples == {
        key for key in manifest("liveportrait", "spade_generator") if "weight_u" in key
    }
    assert not any(key.replace("weight_u", "weight") in tensors for key in triples)
    del tensors[min(triples)]
    with pytest.raises(WeightsError, match=r"holds .*weight_orig, but not .*weight_u"):
        network.read(tensors, config)


def test_a_thin_generator_returns():
    config = thin_generators.FACEVID2VID
    network = torch_map_facevid2vid.NETWORKS["generator"]
    variables, rules = filled(network.template(config)), network.rules(FaceVid2VidConfig())
    back = from_torch(to_torch(variables, rules), rules, variables)
    for path, array in flatten(variables).items():
        np.testing.assert_array_equal(flatten(back)[path], array, err_msg=path)


def test_heads_of_yaw_and_roll_are_the_other_way_round_there():
    network, config = torch_map_facevid2vid.NETWORKS["he_estimator"], THIN["facevid2vid"]
    variables = filled(network.template(config))
    tensors = network.write(variables, config)
    for torch, ours in (("fc_roll", "yaw"), ("fc_yaw", "roll"), ("fc_pitch", "pitch")):
        np.testing.assert_array_equal(tensors[f"{torch}.bias"], variables["params"][ours]["bias"])


def test_smoothing_kernel_is_written():
    network, config = torch_map_facevid2vid.NETWORKS["kp_detector"], THIN["facevid2vid"]
    tensors = network.write(filled(network.template(config)), config)
    kernel = tensors["down.weight"]
    assert kernel.shape == (3, 1, 13, 13) and kernel.dtype == np.float32
    np.testing.assert_allclose(kernel.sum((1, 2, 3)), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "name", "changed", "field"),
    [
        ("facevid2vid", "he_estimator", {"pose": HeadPoseConfig(blocks=(1, 1, 1, 1))}, "blocks"),
        (
            "facevid2vid",
            "generator",
            {"generator": LatentGeneratorConfig(decoder=SpadeDecoderConfig(unfold=2))},
            "unfold",
        ),
        (
            "liveportrait",
            "spade_generator",
            {"generator": LatentGeneratorConfig(decoder=SpadeDecoderConfig(blocks=2))},
            "blocks",
        ),
        (
            "liveportrait",
            "motion_extractor",
            {"motion": MotionExtractorConfig(ConvNextConfig(blocks=(1, 1, 1, 1)))},
            "blocks",
        ),
    ],
)
def test_sizes_that_the_official_code_does_not_have_are_refused(family, name, changed, field):
    networks, config = FAMILIES[family]
    with pytest.raises(ConfigError, match=rf"{field} is .*; set it to"):
        networks[name].rules(dataclasses.replace(config, **changed))
