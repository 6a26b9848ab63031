"""A toy method with one program of one player; choir.py has one of several networks."""

import dataclasses
import pathlib
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.capabilities import Declaration
from talkface_jax.export import bundle
from talkface_jax.methods.base import ChainMethod, program

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Width of the toy."""

    width: int = 4


class ToyMethod(ChainMethod):
    """A method as far as bundles know one."""

    declaration = Declaration("toy", "nobody's", {"only": "a:b"}, chain="a:c")

    def requires(self, configs):
        return {"ears": "v1"}


class Toy(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, bias):
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        # A single number is a parameter too.
        gain = self.param("gain", nn.initializers.ones, ())
        return gain * nn.Dense(self.width, name="dense")(x).mean(0) + bias


def _run(variables, inputs):
    x = inputs["x"].astype(jnp.float32)
    out = jax.vmap(lambda row: Toy(4).apply(variables, row, inputs["bias"].sum()))(x)
    return {"y": out, "batch": jnp.zeros((x.shape[0],)) + x.shape[0]}


def _variables():
    return Toy(4).init(jax.random.key(0), jnp.zeros((2, 3)), 0.0)


@pytest.fixture(scope="session")
def toy():
    net = program(
        "toy",
        player="net",
        stage="only",
        function=_run,
        inputs={"x": (("b", 2, 3), jnp.uint8), "bias": (("r", 2), jnp.float32)},
        variables=lambda: jax.eval_shape(_variables),
    )
    return (ToyMethod(), net, jax.tree.map(np.asarray, _variables()))


@pytest.fixture
def toy_bundle(toy, tmp_path):
    method, program, variables = toy
    bundle.write_bundle(
        method,
        [program],
        variables={"net": variables},
        configs={"only": ToyConfig()},
        lineage={"only": {"licence": "CC0"}},
        out=tmp_path / "bundle",
    )
    return tmp_path / "bundle"
