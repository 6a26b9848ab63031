"""LPIPS against the PyTorch package lpips 0.1.4, with its heads and backbones made from a seed."""

import json

import cases
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.interop.cases import Case
from talkface_jax.interop.lpips_weights import load_lpips
from talkface_jax.interop.weights import vgg_from_torch
from talkface_jax.metrics import lpips

FOLDER = cases.HERE / "image_metrics"
FILES = {"alex": "alexnet", "vgg": "vgg16"}


def alexnet_from_torch(tensors):
    return {
        f"conv{index}": {
            "kernel": np.transpose(tensors[f"features.{place}.weight"], (2, 3, 1, 0)),
            "bias": tensors[f"features.{place}.bias"],
        }
        for index, place in enumerate((0, 3, 6, 8, 10), 1)
    }


def heads(net):
    with np.load(FOLDER / f"lpips_heads_{FILES[net]}.npz") as stored:
        return {f"head{i + 1}": stored[f"lin{i}.model.1.weight"].reshape(-1) for i in range(5)}


def case_params(net):
    if net == "alex":
        # The manifest's scales are by network, for keys of the two coincide.
        features = alexnet_from_torch(Case(FOLDER).state_dict("alexnet"))
    else:
        tensors = Case(FOLDER).state_dict("vgg16")  # The heads, which are stored, among them.
        backbone = {key: tensors[key] for key in tensors if key.startswith("features.")}
        features = vgg_from_torch(backbone, "vgg16")
    return {"features": features, "heads": heads(net)}


def images(case, name):
    return jnp.asarray(np.moveaxis(case[name], 1, -1), jnp.float32) / 255


@pytest.mark.parametrize("net", FILES)
def test_distances_and_their_terms(net):
    with np.load(FOLDER / "lpips.npz") as stored:
        case = dict(stored)
    strides = json.loads((FOLDER / "manifest.json").read_text())["_note"]["strides"]["lpips"]
    params = case_params(net)
    truth, pred = images(case, "in_reference_u8"), images(case, "in_distorted_u8")
    for index, layer in enumerate(lpips.features(params["features"], truth, net=net), 1):
        name = f"{net}_reference_relu{index}"
        full = np.moveaxis(np.asarray(layer), -1, 1)
        part = full[tuple(slice(None, None, step) for step in strides[name])]
        mean, deviation = case[f"{name}_mean_std"]
        np.testing.assert_allclose(part, case[name], atol=1e-3 * deviation, err_msg=name)
        assert full.mean() == pytest.approx(mean, abs=1e-3 * deviation)
    terms = lpips.layer_distances(params, pred, truth, net=net)
    np.testing.assert_allclose(terms, case[f"{net}_layers"], atol=1e-6)
    whole = lpips.Lpips(net, params)(
        *(np.moveaxis(case[f"in_{name}_u8"], 1, -1) for name in ("distorted", "reference"))
    )
    np.testing.assert_allclose(whole, case[f"{net}_distance"], atol=1e-6)


@pytest.mark.parametrize("net", FILES)
def test_the_packaged_heads_are_the_released_ones(net):
    found = load_lpips(net)["heads"]
    for name, head in heads(net).items():
        assert (head >= 0).all()
        np.testing.assert_array_equal(found[name], head, err_msg=name)
