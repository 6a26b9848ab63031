"""A toy method with one program."""

import dataclasses
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.export import bundle
from talkface_jax.task import Program


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Width of the toy."""

    width: int = 4


class Toy(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, bias):
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.Dense(self.width, name="dense")(x).mean(0) + bias


def _run(variables, inputs):
    x = inputs["x"].astype(jnp.float32)
    out = jax.vmap(lambda row: Toy(4).apply(variables, row, inputs["bias"].sum()))(x)
    return {"y": out, "batch": jnp.zeros((x.shape[0],)) + x.shape[0]}


def _variables():
    return Toy(4).init(jax.random.key(0), jnp.zeros((2, 3)), 0.0)


@pytest.fixture(scope="session")
def toy():
    program = Program(
        name="toy",
        stage="only",
        player="net",
        function=_run,
        inputs={"x": (("b", 2, 3), jnp.uint8), "bias": (("r", 2), jnp.float32)},
        variables=lambda: jax.eval_shape(_variables),
    )
    return (
        SimpleNamespace(name="toy", requires=lambda configs: {"ears": "v1"}),
        program,
        jax.tree.map(np.asarray, _variables()),
    )


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
