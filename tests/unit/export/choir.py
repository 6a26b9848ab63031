"""A toy method of two players and one frozen network: a plain program and two with state."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.capabilities import Declaration
from talkface_jax.methods.base import ChainMethod
from talkface_jax.task import FrozenNetwork, Program

SIZE = 3
LOW, HIGH = nn.Dense(SIZE, name="low"), nn.Dense(SIZE, use_bias=False, name="high")
EARS = {"params": {"gain": np.array([0.5, 2.0, -1.0], np.float32)}}


def variables():
    """Of both players, on the host."""
    keys = jax.random.split(jax.random.key(1))
    drawn = {
        "low": LOW.init(keys[0], jnp.zeros((1, SIZE))),
        "high": HIGH.init(keys[1], jnp.zeros((1, SIZE))),
    }
    return jax.tree.map(np.asarray, drawn)


def _shapes(*names):
    trees = {**variables(), "ears": EARS}
    return lambda: jax.eval_shape(lambda: {name: trees[name] for name in names})


def _sing(networks, inputs):
    low = jnp.tanh(LOW.apply(networks["low"], inputs["x"]))
    return {"y": HIGH.apply(networks["high"], low) * networks["ears"]["params"]["gain"]}


def _step(networks, hidden, x):
    """A recurrent network: what it says depends on all that it has heard."""
    return jnp.tanh(LOW.apply(networks["low"], x) + HIGH.apply(networks["high"], hidden))


def _walk(networks, inputs):
    hidden = _step(networks, inputs["hidden"], inputs["x"])
    heard = inputs["heard"] + jnp.abs(inputs["x"]).astype(jnp.bfloat16)
    return {"y": hidden + heard, "hidden": hidden, "heard": heard}


def _hear(networks, inputs):
    def step(hidden, x):
        hidden = _step(networks, hidden, x)
        return hidden, hidden

    last, every = jax.lax.scan(step, inputs["hidden"], inputs["x"])
    return {"y": every, "hidden": last}


BOTH = {"low": "one", "high": "two"}
SING = Program(
    name="sing",
    players=BOTH,
    function=_sing,
    inputs={"x": (("b", SIZE), jnp.float32)},
    variables=_shapes("low", "high", "ears"),
    frozen=("ears",),
)
WALK = Program(
    name="walk",
    players=BOTH,
    function=_walk,
    inputs={
        "x": (("b", SIZE), jnp.float32),
        "hidden": (("b", SIZE), jnp.float32),
        "heard": (("b", SIZE), jnp.bfloat16),
    },
    variables=_shapes("low", "high"),
    state=("hidden", "heard"),
)
HEAR = Program(
    name="hear",
    players=BOTH,
    function=_hear,
    inputs={"x": (("t", SIZE), jnp.float32), "hidden": ((SIZE,), jnp.float32)},
    variables=_shapes("low", "high"),
    state=("hidden",),
)
PROGRAMS = (SING, WALK, HEAR)


class Choir(ChainMethod):
    """The method as far as bundles know it."""

    declaration = Declaration("choir", "nobody's", {"one": "a:b", "two": "a:c"}, chain="a:d")

    def frozen(self, configs):
        origin = {"source": "ears.npz", "authors": ["A", "B"]}
        # One that no program takes does not belong into the bundle.
        return tuple(
            FrozenNetwork(name, lambda: EARS, licence="CC BY 4.0", sha256="ab" * 32, lineage=origin)
            for name in ("ears", "nose")
        )
