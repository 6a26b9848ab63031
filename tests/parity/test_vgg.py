"""VGG-16 and VGG-19 features against plain PyTorch stacks with torchvision's keys."""

import json

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.interop.cases import Case
from talkface_jax.interop.weights import vgg_from_torch
from talkface_jax.models.frozen.vgg import VGG16, VGG19, Vgg


@pytest.mark.parametrize(("name", "config"), [("vgg16", VGG16), ("vgg19", VGG19)])
def test_features(name, config):
    folder = cases.HERE / "vgg"
    strides = json.loads((folder / "manifest.json").read_text())["_note"]["strides"][name]
    with np.load(folder / f"{name}.npz") as stored:
        case = dict(stored)
    layers = tuple(key for key in case if key.startswith("relu") and not key.endswith("std"))
    image = jnp.asarray(np.moveaxis(case["in_image_u8"], 1, -1), jnp.float32) / 255
    params = vgg_from_torch(Case(folder).state_dict(name), name)
    out = jax.jit(Vgg(config, (*layers, "pool5")).apply)({"params": params}, image)
    np.testing.assert_allclose(out["pool5"], np.moveaxis(case["last"], 1, -1), atol=1e-4)
    for layer in layers:
        full = np.moveaxis(np.asarray(out[layer]), -1, 1)
        part = full[tuple(slice(None, None, step) for step in strides.get(layer, [1] * 4))]
        np.testing.assert_allclose(part, case[layer], atol=1e-4, err_msg=layer)
        mean, deviation = case[f"{layer}_mean_std"]
        assert full.mean() == pytest.approx(mean, abs=1e-4)
        assert full.std() == pytest.approx(deviation, rel=1e-3)
