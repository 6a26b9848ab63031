"""Variables of networks, made without compiling their `init`."""

import jax
import jax.numpy as jnp
import numpy as np


def filled(net, *inputs):
    """Variables at random: a compiled `init` would take longer than all else."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    return jax.tree.map(jnp.asarray, filled_shapes(shapes))


def filled_shapes(shapes):
    """The same from their shapes: no activation vanishes or explodes."""
    rng = np.random.default_rng(9)

    def fill(path, leaf):
        name = path[-1].key
        fan_in = float(np.prod(leaf.shape[:-1])) if name == "kernel" else 100.0
        values = rng.normal(0, fan_in**-0.5, leaf.shape)
        return np.asarray(values + (name in ("scale", "var")), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)
