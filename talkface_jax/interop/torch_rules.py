"""PyTorch state_dicts to Linen variables and back, by ordered rules.

A rule names PyTorch keys by a regular expression and says where the tensor goes and in which
layout. The first rule that matches a key decides. Nothing is guessed: a key without a rule, a
parameter that stays unfilled and a shape that differs are errors.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from talkface_jax.errors import WeightsError

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


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Where the PyTorch keys that match `pattern` (in full) go.

    `paths` are slash-separated paths into {"params": …, "batch_stats": …}, with \1 for groups of
    the pattern; none: the tensor is left out on purpose.
    """

    pattern: str
    paths: tuple[str, ...] = ()
    layout: Layout = SAME


def _targets(rules: Sequence[Rule], key: str) -> tuple[Rule, tuple[str, ...]]:
    for rule in rules:
        match = re.fullmatch(rule.pattern, key)
        if match:
            return rule, tuple(match.expand(path) for path in rule.paths)
    raise WeightsError(f"the weights hold {key}, which this network does not have; check the file")


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts as one dict with slash-separated paths."""
    return traverse_util.flatten_dict(dict(tree), sep="/")


def unflatten(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(arrays), sep="/")


def from_torch(
    tensors: Mapping[str, np.ndarray], rules: Sequence[Rule], template: Mapping[str, Any]
) -> dict[str, Any]:
    """Linen variables from a state_dict.

    Args:
      tensors: the state_dict as NumPy arrays.
      rules: tried in order.
      template: shapes of the variables, from `jax.eval_shape` of the network's init.

    Raises:
      WeightsError: a key without a rule, a variable that no key fills, or a shape that does not
      fit.
    """
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(template).items()}
    found: dict[str, np.ndarray] = {}
    for key, tensor in tensors.items():
        rule, paths = _targets(rules, key)
        if not paths:
            continue
        for path, array in zip(paths, rule.layout.to_ours(np.asarray(tensor)), strict=True):
            if path not in shapes:
                raise WeightsError(
                    f"{key} belongs at {path}, which this network lacks; check its config"
                )
            if array.shape != shapes[path]:
                raise WeightsError(
                    f"{key} has shape {tuple(np.shape(tensor))}, but {path} needs {shapes[path]};"
                    " use the config that the weights were made with"
                )
            if path in found:
                raise WeightsError(f"{key} fills {path} a second time; remove the duplicate")
            found[path] = np.ascontiguousarray(array, np.float32)
    missing = sorted(set(shapes) - set(found))
    if missing:
        raise WeightsError(
            f"the weights leave {len(missing)} arrays unfilled, first {missing[0]};"
            " use a complete file"
        )
    return unflatten(found)


def to_torch(
    variables: Mapping[str, Any], rules: Sequence[Rule], keys: Sequence[str]
) -> dict[str, np.ndarray]:
    """The named PyTorch tensors from Linen variables (or from gradients of the same structure).

    Keys whose rule has no path, or whose arrays are absent from `variables`, are left out.
    """
    arrays = flatten(variables)
    found = {}
    for key in keys:
        rule, paths = _targets(rules, key)
        if paths and all(path in arrays for path in paths):
            found[key] = rule.layout.to_torch(tuple(np.asarray(arrays[path]) for path in paths))
    return found
