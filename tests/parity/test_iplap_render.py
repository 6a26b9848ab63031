"""Warp, renderer and discriminator against the official code."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.interop.torch_rules import from_torch, to_torch
from talkface_jax.methods.iplap.torch_map import DISCRIMINATOR_RULES, RENDER_RULES
from talkface_jax.models.discriminators import MultiscaleDiscriminator
from talkface_jax.models.render.reference_warping import ReferenceWarping
from talkface_jax.models.warp import warp


@pytest.mark.parametrize(
    ("source", "target", "flow_scale"),
    [("src128", "out128", 1), ("src64", "out64", 1), ("src128", "out128_zero_flow", 0)],
)
def test_warp(source, target, flow_scale):
    case = cases.load("iplap", "warp")
    flow = jnp.asarray(flow_scale * cases.last(case["flow"]))
    out = warp(jnp.asarray(cases.last(case[source])), flow, grid="released")
    np.testing.assert_allclose(out, cases.last(case[target]), atol=1e-5)


@pytest.fixture(scope="module")
def renderer():
    case = cases.load("iplap", "renderer")
    # The released network zeroes the lower half itself.
    face = cases.rgb(case["face_frame_img"])[:, 0].copy()
    face[:, 64:] = 0
    inputs = tuple(
        jnp.asarray(x)
        for x in (
            face,
            cases.last(case["target_sketches"]),
            cases.rgb(case["ref_N_frame_img"]),
            cases.last(case["ref_N_frame_sketch"]),
            case["audio_mels"][:, 0, 0],
        )
    )
    net = ReferenceWarping()
    template = jax.eval_shape(lambda inputs: net.init(jax.random.key(0), *inputs), inputs)
    variables = from_torch(cases.state_dict("iplap", "renderer"), RENDER_RULES, template)
    return case, variables, jax.jit(net.apply)(variables, *inputs)


def test_renderer(renderer):
    case, _, out = renderer
    np.testing.assert_allclose(out.aligned.flow, cases.last(case["flow"]), atol=1e-3)
    np.testing.assert_allclose(out.aligned.image, cases.rgb(case["wrapped_ref"]), atol=1e-3)
    np.testing.assert_allclose(out.image, cases.rgb(case["generated_face"]), atol=1e-3)


def test_renderer_weights_survive_the_round_trip(renderer):
    tensors = cases.state_dict("iplap", "renderer")
    back = to_torch(renderer[1], RENDER_RULES, list(tensors))
    assert set(tensors) - set(back) == {key for key in tensors if "num_batches" in key}
    for key, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[key], err_msg=key)


def test_discriminator():
    case = cases.load("iplap", "discriminator")
    net, image = MultiscaleDiscriminator(), jnp.asarray(cases.rgb(case["image"]))
    template = jax.eval_shape(net.init, jax.random.key(0), image)
    tensors = cases.state_dict("iplap", "discriminator")
    out = jax.jit(net.apply)(from_torch(tensors, DISCRIMINATOR_RULES, template), image)
    for scale, features in enumerate(out):
        expected = cases.last(case[f"scale{scale}_out"])
        np.testing.assert_allclose(features[-1], expected, atol=1e-3)
        for index, layer in enumerate(features):
            layer = np.asarray(layer)
            np.testing.assert_allclose(
                [layer.mean(), layer.std(ddof=1)],
                case[f"scale{scale}_layer{index}_mean_std"],
                atol=1e-3,
            )
