"""How large a network is and how much it computes, without running it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
from jax.extend import core


def count_leaves(tree: Any) -> int:
    """Number of scalars in a tree of arrays or of shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def count_params(module: nn.Module, *inputs: Any, **keywords: Any) -> int:
    """Trainable parameters of a network for inputs of the given shapes; statistics do not count.

    `inputs` and `keywords` may be arrays or `jax.ShapeDtypeStruct`; nothing is computed.
    """
    shapes = jax.eval_shape(
        lambda inputs, keywords: module.init(jax.random.key(0), *inputs, **keywords),
        inputs,
        keywords,
    )
    return count_leaves(shapes["params"])


def count_flops(function: Callable[..., Any], *inputs: Any, **keywords: Any) -> int:
    """Floating-point operations of all matrix products and convolutions of one call.

    A multiply-add counts as two; everything else is left out, as is usual for model FLOPs. Unlike
    the compiler's own cost analysis it counts a scan's body once per iteration; a loop without a
    known length counts once and a branch counts as its dearest case. Transposed products in
    gradients count too, so a training step may be passed.
    """
    closed = jax.make_jaxpr(function)(*inputs, **keywords)
    return _flops(closed.jaxpr)


def _flops(jaxpr: core.Jaxpr) -> int:
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: Any) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return (
            2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[i] for i in contracted)
        )
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        output_feature = equation.params["dimension_numbers"].rhs_spec[0]
        per_output = math.prod(kernel) // kernel[output_feature]
        dense = math.prod(equation.outvars[0].aval.shape) * per_output
        # Zeros that a dilated input inserts (gradient of a stride) are no work of the model.
        return 2 * dense // math.prod(equation.params["lhs_dilation"])
    inner = [_flops(jaxpr) for jaxpr in _inner(equation.params.values())]
    if name == "scan":
        return equation.params["length"] * sum(inner)
    if name == "cond":
        return max(inner, default=0)
    return sum(inner)


def _inner(values: Iterable[Any]) -> Iterable[core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _inner(value)
