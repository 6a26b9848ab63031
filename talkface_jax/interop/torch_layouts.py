"""How PyTorch and Linen lay out the same parameter."""

import dataclasses
from collections.abc import Callable

import numpy as np

Arrays = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A change of axes and its inverse; one PyTorch tensor may become several arrays of ours."""

    to_ours: Callable[[np.ndarray], Arrays]
    to_torch: Callable[[Arrays], np.ndarray]

    def then(self, other: "Layout") -> "Layout":
        """This change, then the other one on a single array."""
        return Layout(
            lambda x: other.to_ours(self.to_ours(x)[0]),
            lambda arrays: self.to_torch((other.to_torch(arrays),)),
        )


def simple(
    to_ours: Callable[[np.ndarray], np.ndarray], to_torch: Callable[[np.ndarray], np.ndarray]
) -> Layout:
    """A layout of one array."""
    return Layout(lambda x: (to_ours(x),), lambda arrays: to_torch(arrays[0]))


SAME = simple(lambda x: x, lambda x: x)
LINEAR = simple(np.transpose, np.transpose)
CONV = simple(
    lambda x: np.moveaxis(x, (0, 1), (-1, -2)), lambda x: np.moveaxis(x, (-1, -2), (0, 1))
)
"""(out, in, *kernel) -> (*kernel, in, out), for any number of space axes."""


def reversed_channels(start: int, stop: int, *, axis: int) -> Layout:
    """Reverses input (axis 1) or output (axis 0) channels [start, stop) of a PyTorch tensor: BGR to
    RGB."""

    def flip(x: np.ndarray) -> np.ndarray:
        order = np.arange(x.shape[axis])
        order[start:stop] = order[start:stop][::-1]
        return np.take(x, order, axis)

    return simple(flip, flip)


def attention_projection(heads: int) -> Layout:
    """`in_proj_weight` (3d, d) or `in_proj_bias` (3d,) -> Linen's query, key and value."""

    def split(x: np.ndarray) -> Arrays:
        parts = np.split(x, 3)
        width = parts[0].shape[0] // heads
        if x.ndim == 1:
            return tuple(part.reshape(heads, width) for part in parts)
        return tuple(part.T.reshape(-1, heads, width) for part in parts)

    def join(arrays: Arrays) -> np.ndarray:
        if arrays[0].ndim == 2:
            return np.concatenate([array.reshape(-1) for array in arrays])
        return np.concatenate([array.reshape(array.shape[0], -1).T for array in arrays])

    return Layout(split, join)


def attention_output(heads: int) -> Layout:
    """`out_proj.weight` (d, d) -> (heads, d / heads, d)."""
    return simple(
        lambda x: x.T.reshape(heads, -1, x.shape[0]), lambda x: x.reshape(-1, x.shape[-1]).T
    )
