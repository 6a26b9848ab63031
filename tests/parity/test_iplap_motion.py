"""The landmark generator and its losses against the official code."""

import json

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.interop.torch_rules import from_torch, to_torch
from talkface_jax.losses.landmark import landmark_l1, landmark_velocity
from talkface_jax.methods.iplap.torch_map import motion_rules
from talkface_jax.models.motion.landmark_transformer import (
    LandmarkTransformer,
    LandmarkTransformerConfig,
)

RULES = motion_rules(heads=4)
# The case in training mode was made with batch statistics and without dropout.
NET = LandmarkTransformer(LandmarkTransformerConfig(dropout=0.0, inner_dropout=0.0))


@pytest.fixture(scope="module")
def case():
    return cases.load("iplap", "landmark_generator")


@pytest.fixture(scope="module")
def inputs(case):
    points = (case[name].swapaxes(-1, -2) for name in ("T_pose", "Nl_pose", "Nl_content"))
    return tuple(jnp.asarray(x) for x in (case["T_mels"][:, :, 0], *points))


@pytest.fixture(scope="module")
def variables(inputs):
    template = jax.eval_shape(lambda inputs: NET.init(jax.random.key(0), *inputs), inputs)
    return from_torch(cases.state_dict("iplap", "landmark_generator"), RULES, template)


def as_torch(prediction):
    return np.asarray(prediction).reshape(10, 57, 2).swapaxes(1, 2)


@pytest.fixture(scope="module")
def training(variables, inputs, case):
    """Prediction, both losses and the gradients of their sum, with batch statistics."""
    target = jnp.asarray(case["gt_content"].swapaxes(1, 2).reshape(2, 5, 57, 2))

    def loss(params):
        out, _ = NET.apply(
            {**variables, "params": params}, *inputs, train=True, mutable=["batch_stats"]
        )
        l1, velocity = landmark_l1(out, target).mean(), landmark_velocity(out, target).mean()
        return l1 + velocity, (out, l1, velocity)

    (_, found), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    return found, gradients


def test_weights_survive_the_round_trip(variables):
    tensors = cases.state_dict("iplap", "landmark_generator")
    back = to_torch(variables, RULES, list(tensors))
    assert set(tensors) - set(back) == {key for key in tensors if "num_batches" in key}
    for key, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[key], err_msg=key)


def test_prediction(variables, inputs, case):
    out = jax.jit(NET.apply)(variables, *inputs)
    np.testing.assert_allclose(as_torch(out), case["predict_eval"], atol=1e-4)


def test_prediction_with_batch_statistics(training, case):
    np.testing.assert_allclose(as_torch(training[0][0]), case["predict_train"], atol=1e-4)


def test_losses(training, case):
    _, l1, velocity = training[0]
    assert float(l1) == pytest.approx(float(case["l1"]), abs=1e-4)
    assert float(velocity) == pytest.approx(float(case["velocity"]), abs=1e-4)


def test_gradient_norms(training):
    path = cases.HERE / "iplap" / "landmark_generator_grad_norms.json"
    expected = json.loads(path.read_text())
    found = to_torch({"params": training[1]}, RULES, list(expected))
    assert set(found) == set(expected)
    norms = [float(np.linalg.norm(found[key])) for key in expected]
    # A bias before BatchNorm has no gradient but rounding noise.
    np.testing.assert_allclose(norms, list(expected.values()), rtol=1e-3, atol=5e-5)
