"""A stage with everything that a step takes, and what its step computes in which format."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend import core

from talkface_jax.train.gradients import PLAIN, Policy
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_eval_step, make_train_step

BF16 = Policy(compute="bfloat16")


def make_batch(task, rows):
    rng = np.random.default_rng(0)
    batch = {}
    for name, leaf in task.view.spec(rows).items():
        if np.issubdtype(leaf.dtype, np.integer):
            batch[name] = rng.integers(0, 256, leaf.shape).astype(leaf.dtype)
        else:
            low, high = (-4, 4) if name == "mel" else (0, 1)
            batch[name] = rng.uniform(low, high, leaf.shape).astype(leaf.dtype)
    return batch


def fill(shapes, seed=0):
    """Values by NumPy, for a jitted init costs seconds; kernels keep activations at unit size."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        names = [getattr(key, "key", getattr(key, "name", "")) for key in path]
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        if "opt_state" in names or names[-1] in ("step", "mean"):
            return np.zeros(leaf.shape, leaf.dtype)
        if names[-1] in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        fan = max(np.prod(leaf.shape[:-1]), 1) if names[-1] == "kernel" else 100
        return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A task with everything that a step takes."""

    task: object
    batch: dict
    transforms: dict
    state: object
    frozen: dict

    def step(self, policy=PLAIN):
        return make_train_step(self.task, self.transforms, self.task.objectives, policy=policy)

    def arguments(self):
        return self.state, self.frozen, self.batch


def make_stage(task, rows=4, **frozen):
    batch = make_batch(task, rows)
    transforms = {player: optax.adam(1e-4) for player in task.nets}
    shapes = jax.eval_shape(
        lambda: create_state(task, transforms, seed=1, batch=batch, ema_players=())
    )
    return Stage(task, batch, transforms, fill(shapes), frozen)


def variables_of(stage):
    return {player: net.variables for player, net in stage.state.nets.items()}


def terms_of(objective):
    return {term.name: term for term in objective.terms}


def equations(jaxpr):
    """Those of a jaxpr and of all jaxprs within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
        ):
            if isinstance(inner, core.ClosedJaxpr):
                yield from equations(inner.jaxpr)
            elif isinstance(inner, core.Jaxpr):
                yield from equations(inner)


def products(function, *arguments):
    """(scopes, formats of both factors) of every convolution and matrix product."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return [
        (str(equation.source_info.name_stack), {str(x.aval.dtype) for x in equation.invars})
        for equation in equations(jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]


def mark(monkeypatch, module, name):
    """Calls of a function leave their name on the equations that they and their gradients trace."""
    monkeypatch.setattr(module, name, jax.named_call(getattr(module, name), name=f"marked_{name}"))


def assert_plain_is_float32(stage):
    """Evaluation and plain steps multiply in float32 only."""
    batch = {**stage.batch, "mask": np.ones(4, np.float32)}
    evaluate = make_eval_step(stage.task)
    for found in (
        products(evaluate, variables_of(stage), stage.frozen, batch),
        products(stage.step(), *stage.arguments()),
    ):
        assert found and all(formats == {"float32"} for _, formats in found)


def assert_state_stays_float32(stage):
    """A step in bfloat16 gives a state of the same shapes and formats, and float32 metrics."""
    after, metrics = jax.eval_shape(stage.step(BF16), *stage.arguments())
    before = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), stage.state)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == before
    assert all(leaf.dtype == jnp.float32 for leaf in metrics.values())
