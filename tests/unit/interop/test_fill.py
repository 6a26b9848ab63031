"""The rule by which parity cases were filled; its first numbers, as they were when they were."""

import numpy as np
import pytest

from talkface_jax.interop import fill

SEED = 20230


@pytest.mark.parametrize(
    ("key", "shape", "scale", "first"),
    [
        ("Norm.weight", (4,), None, (1.0656485557556152, 0.8263067603111267)),
        ("a.running_var", (2, 3), None, (1.3135548830032349, 1.1315340995788574)),
        ("a.running_mean", (2,), None, (0.04675836116075516, 0.024233685806393623)),
        ("a.bias", (3,), None, (0.041635774075984955, 0.041600603610277176)),
        ("a.in_proj_bias", (3,), None, (0.015811575576663017, 0.054248176515102386)),
        ("a.in_proj_weight", (3, 4), None, (-0.5336399078369141, 0.3240881562232971)),
        ("a.weight", (2, 8, 1), None, (-0.09917205572128296, 0.03322594612836838)),
        ("a.weight", (2, 8, 1), 0.05, (-0.014025046490132809, 0.004698858596384525)),
        ("positions", (2,), None, (-0.5134479403495789, 0.6899911761283875)),
    ],
)
def test_first_numbers(key, shape, scale, first):
    array = fill.tensor(key, shape, seed=SEED, scale=scale)
    assert array.dtype == np.float32 and array.shape == shape
    assert tuple(array.ravel()[:2].tolist()) == first


def test_deviation_is_that_of_the_fan_in_or_of_the_scale():
    plain = fill.tensor("conv.weight", (64, 25, 4, 4), seed=SEED)
    assert plain.std() == pytest.approx(1 / 20, rel=0.02)
    np.testing.assert_allclose(
        fill.tensor("conv.weight", (64, 25, 4, 4), seed=SEED, scale=0.2), 4 * plain, rtol=1e-6
    )


@pytest.mark.parametrize("change", [{"seed": 1}, {"key": "other.weight"}])
def test_seed_and_key_decide(change):
    arguments = {"key": "conv.weight", "shape": (8, 8), "seed": 0}
    same, other = fill.tensor(**arguments), fill.tensor(**(arguments | change))
    np.testing.assert_array_equal(same, fill.tensor(**arguments))
    assert np.abs(same - other).max() > 0.1


def test_state_dict_fills_every_key_and_zeroes_counters():
    shapes = {"a.weight": [2, 3], "b.weight": [2, 3], "n.num_batches_tracked": []}
    found = fill.state_dict(shapes, seed=SEED, scales={"b.weight": 0.5})
    assert list(found) == list(shapes)
    np.testing.assert_array_equal(found["a.weight"], fill.tensor("a.weight", (2, 3), seed=SEED))
    np.testing.assert_array_equal(
        found["b.weight"], fill.tensor("b.weight", (2, 3), seed=SEED, scale=0.5)
    )
    counter = found["n.num_batches_tracked"]
    assert counter.dtype == np.int64 and counter.shape == () and counter == 0
