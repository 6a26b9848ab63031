"""Warp, renderer and discriminator against the official code."""

import cases
import numpy as np
import pytest

from talkface_jax.interop.cases import Case
from talkface_jax.interop.torch_rules import from_torch, to_torch
from talkface_jax.methods import registry
from talkface_jax.methods.iplap.render.config import RenderConfig

WARP = {"out128", "out64", "out128_zero_flow"}
RENDERER = {"flow", "wrapped_ref", "generated_face"}
DISCRIMINATOR = {
    f"scale{scale}_{name}"
    for scale in range(2)
    for name in ("out", *(f"layer{layer}_mean_std" for layer in range(5)))
}


@pytest.mark.parametrize(
    ("file", "tensors", "tolerance"),
    [
        ("warp.npz", WARP, 1e-5),
        ("renderer.npz", RENDERER, 1e-3),
        ("discriminator.npz", DISCRIMINATOR, 1e-3),
    ],
)
def test_outputs(file, tensors, tolerance):
    found = cases.run(cases.FOLDER, file)
    assert set(found) == tensors
    for check in found.values():
        assert check.tolerance == tolerance and check.unit == ""
        assert check.error <= tolerance, check


@pytest.mark.parametrize(
    ("file", "tensors", "step"),
    [
        *(("warp.npz", {name}, 2e-5) for name in sorted(WARP)),
        ("renderer.npz", {"flow", "generated_face"}, 2e-3),
        ("discriminator.npz", {"scale0_out", "scale1_layer3_mean_std"}, 2e-3),
    ],
)
def test_outputs_that_differ_are_named(tmp_path, file, tensors, step):
    folder = cases.copy(tmp_path, file)
    cases.change(folder / file, **dict.fromkeys(tensors, cases.first(step)))
    assert cases.over(cases.run(folder, file)) == tensors


@pytest.mark.parametrize(
    ("file", "array", "tensors"),
    [
        ("renderer.npz", "face_frame_img", {"generated_face"}),
        ("discriminator.npz", "image", {"scale0_out", "scale1_out"}),
    ],
)
def test_order_of_colours_is_noticed(tmp_path, file, array, tensors):
    folder = cases.copy(tmp_path, file)
    cases.change(folder / file, **{array: lambda image: image[..., ::-1, :, :].copy()})
    found = cases.over(cases.run(folder, file))
    assert {name for name in found if not name.endswith("_mean_std")} == tensors


@pytest.mark.parametrize(
    ("network", "key", "tensors"),
    [
        ("renderer", "flow_module.conv_4.weight", RENDERER),
        # The official code counts its scales from the smallest input.
        ("discriminator", "scale1_layer4.0.weight", {"scale0_out", "scale0_layer4_mean_std"}),
    ],
)
def test_one_other_weight_is_noticed(tmp_path, network, key, tensors):
    file = f"{network}.npz"
    folder = cases.copy(tmp_path, file)
    tensor = Case(folder).state_dict(network)[key]
    cases.change(
        folder / "manifest.json",
        _note=lambda note: note | {"scales": note["scales"] | {key: 1.1 * float(tensor.std())}},
    )
    assert cases.over(cases.run(folder, file)) == tensors


@pytest.mark.parametrize(
    ("stage", "network"), [("render", "renderer"), ("discriminator", "discriminator")]
)
def test_weights_survive_the_round_trip(stage, network):
    found, config = registry.torch_networks("iplap")[stage], RenderConfig()
    tensors, rules = Case(cases.FOLDER).state_dict(network), found.rules(config)
    back = to_torch(from_torch(tensors, rules, found.template(config)), rules)
    assert set(back) == set(tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key)
