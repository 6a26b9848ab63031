"""Rules for the PyTorch modules that every code base is made of.

`torch` is a pattern of the module's key, `ours` the path of the module here, groups put in.
"""

import numpy as np

from talkface_jax.interop.torch_layouts import CONV, LINEAR, Layout
from talkface_jax.interop.torch_rules import Rule


def affine(torch: str, ours: str) -> tuple[Rule, ...]:
    """A normalisation's learned scale and offset."""
    return (
        Rule(rf"{torch}\.weight", (f"params/{ours}/scale",)),
        Rule(rf"{torch}\.bias", (f"params/{ours}/bias",)),
    )


def batch_norm(torch: str, ours: str) -> tuple[Rule, ...]:
    """BatchNorm with its running statistics."""
    return (
        *affine(torch, ours),
        Rule(rf"{torch}\.running_mean", (f"batch_stats/{ours}/mean",)),
        Rule(rf"{torch}\.running_var", (f"batch_stats/{ours}/var",)),
        Rule(
            rf"{torch}\.num_batches_tracked",
            (f"batch_stats/{ours}/mean",),
            buffer=lambda _mean: np.zeros((), np.int64),
        ),
    )


def kernel(torch: str, ours: str, layout: Layout = CONV) -> Rule:
    """A convolution's or a linear layer's weight."""
    return Rule(rf"{torch}\.weight", (f"params/{ours}/kernel",), layout)


def layer(torch: str, ours: str, layout: Layout = CONV) -> tuple[Rule, ...]:
    """A convolution or a linear layer with its bias."""
    return (kernel(torch, ours, layout), Rule(rf"{torch}\.bias", (f"params/{ours}/bias",)))


def linear(torch: str, ours: str) -> tuple[Rule, ...]:
    """A linear layer with its bias."""
    return layer(torch, ours, LINEAR)
