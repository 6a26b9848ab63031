"""The released IP-LAP networks, key by key."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.interop.torch_rules import flatten, from_torch, ignored, to_torch, unflatten
from talkface_jax.methods import registry
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.torch_map import NETWORKS
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformerConfig
from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig

MANIFEST = pathlib.Path(__file__).parents[3] / "parity" / "iplap" / "manifest.json"
OFFICIAL = {"motion": "landmark_generator", "render": "renderer", "discriminator": "discriminator"}
PARAMETERS = {"motion": 13_724_394, "render": 18_963_235, "discriminator": 5_529_474}
PUBLISHED = {"motion": MotionConfig(), "render": RenderConfig(), "discriminator": RenderConfig()}
THIN_RENDER = RenderConfig(
    net=ReferenceWarpingConfig(
        size=16,
        channels=4,
        deep=8,
        kernel=3,
        spade_hidden=6,
        weight_hidden=5,
        audio_width=10,
        audio_hidden=7,
        mel_channels=(2, 3, 4, 5),
    ),
    disc_channels=4,
    perceptual_scales=1,
)
THIN = {
    "motion": MotionConfig(
        net=LandmarkTransformerConfig(
            width=16,
            layers=2,
            heads=2,
            mlp=12,
            mel_channels=(2, 3, 4, 5),
            point_channels=(2, 3, 4, 5, 6, 7, 8),
        )
    ),
    "render": THIN_RENDER,
    "discriminator": THIN_RENDER,
}


def filled(template):
    """Variables of these shapes, every number another one."""
    arrays, count = {}, 0
    for path, leaf in flatten(template).items():
        size = int(np.prod(leaf.shape))
        values = np.arange(count, count + size, dtype=np.float32)
        arrays[path], count = values.reshape(leaf.shape), count + size
    return unflatten(arrays)


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def published(request):
    """Name, rules, template and the state_dict of the published network."""
    config, network = PUBLISHED[request.param], NETWORKS[request.param]
    rules, template = network.rules(config), network.template(config)
    return request.param, rules, template, to_torch(filled(template), rules)


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def thin(request):
    """Name, rules, variables and their state_dict, of a thin network."""
    config, network = THIN[request.param], NETWORKS[request.param]
    rules, variables = network.rules(config), filled(network.template(config))
    return request.param, rules, variables, to_torch(variables, rules)


def test_written_keys_and_shapes_are_those_of_the_official_modules(published):
    name, _, template, tensors = published
    expected = {
        key: tuple(shape) for key, shape in json.loads(MANIFEST.read_text())[OFFICIAL[name]].items()
    }
    if name == "motion":
        # Left out of the manifest; the code registers them as buffers.
        expected |= {f"fusion_transformer.position_{which}.pe": (1, 512, 512) for which in "va"}
    assert {key: tensor.shape for key, tensor in tensors.items()} == expected
    assert sum(x.size for x in jax.tree.leaves(template["params"])) == PARAMETERS[name]


def test_everything_returns(thin):
    _, rules, variables, tensors = thin
    template = jax.tree.map(np.zeros_like, variables)
    back = flatten(from_torch(tensors, rules, template))
    for path, array in flatten(variables).items():
        np.testing.assert_array_equal(back[path], array, err_msg=path)
    again = to_torch(unflatten(back), rules)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(again[key], tensor, err_msg=key)
        assert again[key].dtype == (np.int64 if key.endswith("tracked") else np.float32)


def test_buffers_of_the_official_modules():
    tensors = to_torch(filled(NETWORKS["motion"].template(THIN["motion"])), _rules("motion"))
    rate = 10_000.0 ** -(np.arange(8) / 8)
    angle = np.arange(512)[:, None] * rate
    for which in "va":
        encoding = tensors[f"fusion_transformer.position_{which}.pe"]
        assert encoding.shape == (1, 512, 16) and encoding.dtype == np.float32
        np.testing.assert_allclose(encoding[0, :, 0::2], np.sin(angle), atol=1e-4)
        np.testing.assert_allclose(encoding[0, :, 1::2], np.cos(angle), atol=1e-4)
    count = tensors["pose_encoder.20.conv_block.1.num_batches_tracked"]
    assert count.shape == () and count.dtype == np.int64 and count == 0


def _rules(name):
    return NETWORKS[name].rules(THIN[name])


def test_colours_are_reversed_where_images_enter_and_leave():
    variables = filled(NETWORKS["render"].template(THIN_RENDER))
    tensors, params = to_torch(variables, _rules("render")), variables["params"]
    first = params["alignment"]["stem"]["conv_1"]["kernel"]
    # Three colours, then the three grey channels of the sketch.
    expected = first[:, :, [2, 1, 0, 3, 4, 5]].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(tensors["flow_module.conv1.weight"], expected)
    last = params["translation"]["to_rgb"]["kernel"]
    expected = last[..., ::-1].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(tensors["translation.conv_last.weight"], expected)
    variables = filled(NETWORKS["discriminator"].template(THIN_RENDER))
    tensors = to_torch(variables, _rules("discriminator"))
    # The official code counts from the smallest scale.
    small = variables["params"]["scale_1"]["conv_0"]["kernel"]
    expected = small[:, :, ::-1].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(tensors["scale0_layer0.0.weight"], expected)


MISSING = {
    "motion": "fusion_transformer.transformer_encoder.layers.2.self_attn.in_proj_weight",
    "render": "translation.adain_2.adain_layer_1.mlp_shared.0.bias",
    "discriminator": "scale1_layer4.0.bias",
}
EXTRA = {
    "motion": ("fusion_transformer.transformer_encoder.layers.4.norm1.bias", "Norm.running_mean"),
    "render": ("flow_module.spade_layer_3.conv_1.weight", "xperceptual.model.0.weight"),
    "discriminator": ("scale2_layer0.0.weight", "scale0_layer5.0.weight"),
}
TRANSPOSED = {
    "motion": "mouse_keypoint_map.weight",
    "render": "translation.spade_4.spade_layer_2.conv1.weight",
    "discriminator": "scale0_layer2.0.weight",
}


def test_a_missing_key_is_named(published):
    name, rules, template, tensors = published
    key = MISSING[name]
    rest = {other: tensor for other, tensor in tensors.items() if other != key}
    with pytest.raises(WeightsError) as error:
        from_torch(rest, rules, template)
    assert f"lacks {key}, which fills params/" in str(error.value)


def test_an_extra_key_is_named(published):
    name, rules, template, tensors = published
    for key in EXTRA[name]:
        with pytest.raises(WeightsError) as error:
            from_torch({**tensors, key: np.zeros(3, np.float32)}, rules, template)
        assert f"holds {key}, which" in str(error.value)


def test_a_transposed_tensor_is_named(published):
    name, rules, template, tensors = published
    key = TRANSPOSED[name]
    turned = tensors[key].swapaxes(0, 1)
    with pytest.raises(WeightsError) as error:
        from_torch({**tensors, key: turned}, rules, template)
    assert f"{key} has shape {turned.shape}" in str(error.value)
    assert f"needs {tensors[key].shape}" in str(error.value)


def test_every_tensor_is_needed_and_has_one_shape(thin):
    _, rules, variables, tensors = thin
    left_out = ignored(tensors, rules)
    assert all(key.endswith(("num_batches_tracked", ".pe")) for key in left_out)
    needed = [key for key in tensors if key not in left_out]
    for key in needed[::7]:
        tensor = tensors[key]
        rest = {other: value for other, value in tensors.items() if other != key}
        for changed in (rest, {**rest, key: tensor[None]}):
            with pytest.raises(WeightsError) as error:
                from_torch(changed, rules, variables)
            assert key in str(error.value)


def test_the_frozen_perceptual_network_is_ignored_by_name():
    rules, template = _rules("render"), NETWORKS["render"].template(THIN_RENDER)
    tensors = to_torch(filled(template), rules)
    extra = "perceptual.model.network.0.weight"
    read = {**tensors, extra: np.zeros((64, 3, 3, 3), np.float32)}
    from_torch(read, rules, template)
    assert ignored(read, rules)[extra] == r"perceptual\..*"
    assert extra not in tensors


UNKNOWN = [
    ("motion", "head", "residual"),
    ("motion", "pose_features", "affine"),
    ("motion", "encoder", "dense"),
    ("motion", "positions", "learned"),
    ("render", "design", "mouth"),
    ("render", "sketch_channels", 1),
    ("render", "grid", "aligned"),
]


@pytest.mark.parametrize(("name", "field", "value"), UNKNOWN, ids=[x[1] for x in UNKNOWN])
def test_networks_that_the_official_code_lacks_are_refused(name, field, value):
    net = dataclasses.replace(THIN[name].net, **{field: value})
    config = dataclasses.replace(THIN[name], net=net)
    for function in (NETWORKS[name].rules, NETWORKS[name].template):
        with pytest.raises(ConfigError, match=rf"task\.net\.{field} is {value!r}"):
            function(config)


def test_registry_names_the_networks():
    networks = registry.torch_networks("iplap")
    assert set(networks) == {"motion", "render", "discriminator"}
    for name, network in networks.items():
        task = registry.build_task("iplap", network.stage, THIN[name])
        batch = task.view.spec(2)
        trained = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
        template = network.template(THIN[name])

        def shapes(tree):
            return {path: leaf.shape for path, leaf in flatten(tree).items()}

        assert shapes(template) == shapes(trained[network.player])
    with pytest.raises(ConfigError, match=r"wav2lip.*known: emoconv, iplap"):
        registry.torch_networks("wav2lip")
