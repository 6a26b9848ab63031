"""Rules of the networks that the two public generators have in common.

`ours` is the path of the network here with a slash at its end, or empty.
"""

from collections.abc import Mapping
from typing import Any

from talkface_jax.interop.torch_modules import batch_norm, kernel, layer
from talkface_jax.interop.torch_rules import Rule
from talkface_jax.methods.base import shapes_of

SIZE = 256
"""Height and width of the pictures."""
SPECTRAL = r"(decoder\.)?(G_middle_\d+|up_[01])\.conv_[01s]\.weight"
"""The decoder's weights that are spectrally normalised."""


def conv_norm(torch: str, ours: str) -> tuple[Rule, ...]:
    """A block of `conv` and `norm`."""
    return (
        *layer(rf"{torch}\.conv", f"{ours}/conv"),
        *batch_norm(rf"{torch}\.norm", f"{ours}/norm"),
    )


def appearance_rules(ours: str) -> tuple[Rule, ...]:
    """`Appearance`."""
    residual, block = r"resblocks_3d\.3dr(\d+)", rf"{ours}residual_\1"
    return (
        *conv_norm("first", f"{ours}first"),
        *conv_norm(r"down_blocks\.(\d+)", rf"{ours}down_\1/body"),
        *layer("second", f"{ours}second"),
        *layer(rf"{residual}\.conv([12])", rf"{block}/conv_\2"),
        *batch_norm(rf"{residual}\.norm([12])", rf"{block}/norm_\2"),
    )


def warping_rules(ours: str) -> tuple[Rule, ...]:
    """`Warping`."""
    torch, motion = "dense_motion_network", f"{ours}dense_motion"
    hourglass = rf"{torch}\.hourglass"
    return (
        *layer(rf"{torch}\.compress", f"{motion}/compress"),
        *batch_norm(rf"{torch}\.norm", f"{motion}/compress_norm"),
        *conv_norm(
            rf"{hourglass}\.encoder\.down_blocks\.(\d+)", rf"{motion}/hourglass/down_\1/body"
        ),
        *conv_norm(rf"{hourglass}\.decoder\.up_blocks\.(\d+)", rf"{motion}/hourglass/up_\1/body"),
        *conv_norm(rf"{hourglass}\.decoder", f"{motion}/hourglass/last"),
        *layer(rf"{torch}\.mask", f"{motion}/mask"),
        *layer(rf"{torch}\.occlusion", f"{motion}/occlusion"),
        *conv_norm("third", f"{ours}third"),
        *layer("fourth", f"{ours}fourth"),
    )


def _spade_residual(torch: str, block: str) -> tuple[Rule, ...]:
    spade = rf"{torch}\.norm_([01s])"
    return (
        kernel(rf"{torch}\.conv_([01s])", rf"{block}/conv_\2"),
        Rule(rf"{torch}\.conv_([01])\.bias", (rf"params/{block}/conv_\2/bias",)),
        *layer(rf"{spade}\.mlp_shared\.0", rf"{block}/spade_\2/shared"),
        *layer(rf"{spade}\.mlp_gamma", rf"{block}/spade_\2/scale"),
        *layer(rf"{spade}\.mlp_beta", rf"{block}/spade_\2/offset"),
    )


def decoder_rules(torch: str, ours: str, *, colour: str) -> tuple[Rule, ...]:
    """`SpadeDecoder`.

    Args:
      torch: pattern before its keys, with the dot at the end, or empty.
      ours: the path.
      colour: pattern of its last convolution.
    """
    return (
        *layer(rf"{torch}fc", f"{ours}first"),
        *_spade_residual(rf"{torch}G_middle_(\d+)", rf"{ours}middle_\1"),
        *_spade_residual(rf"{torch}up_([01])", rf"{ours}up_\1"),
        *layer(rf"{torch}{colour}", f"{ours}colour"),
    )


def shapes(net: Any, *inputs: tuple[int, ...]) -> Mapping[str, Any]:
    """Shapes of a network's variables, for inputs of one picture."""
    return shapes_of(net, *((1, *shape) for shape in inputs))
