import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.features.host import HostNetwork


class Affine(nn.Module):
    @nn.compact
    def __call__(self, x, shift):
        return nn.Dense(2)(x) + shift, jnp.sum(shift)


PARAMS = {"Dense_0": {"kernel": np.eye(2, dtype=np.float32), "bias": np.ones(2, np.float32)}}


def test_results_are_arrays_of_numpy():
    values, total = HostNetwork(Affine(), PARAMS)(np.zeros((3, 2), np.float32), np.float32([1, 2]))
    assert type(values) is np.ndarray and type(total) is np.ndarray
    np.testing.assert_array_equal(values, [[2, 3]] * 3)
    assert total == 3


def test_a_jax_without_cpu_is_told_to_have_one(monkeypatch):
    def none(*, backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none)
    with pytest.raises(ConfigError, match=r"add it to JAX_PLATFORMS \(Unknown backend cpu\)"):
        HostNetwork(Affine(), PARAMS)
