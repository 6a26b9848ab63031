"""PyTorch state_dicts to Linen variables and back, by ordered rules.

A rule names PyTorch keys by a pattern and says where the tensor goes and in which layout. The first
rule that matches a key decides. Nothing is guessed: a key without a rule, a parameter that stays
unfilled and a shape that differs are errors that name the key. Patterns are so plain that they can
be read backwards, so the same rules write a state_dict from nothing but the variables.
"""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from talkface_jax.errors import WeightsError
from talkface_jax.interop.torch_layouts import SAME, Layout

_TOKEN = re.compile(
    r"(?P<literal>[\w-]|\\\.)"
    r"|(?P<group>\((?:\\d\+|\[\w+\]|\w+(?:\|\w+)*)\))"
    r"|(?P<rest>\.\*)"
)
_REFERENCE = re.compile(r"\\(\d)")


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Where the PyTorch keys that match `pattern` (in full) go.

    A pattern is literal text with dots written `\.`, and groups `(\d+)`, `([12])` or `(a|b)`; every
    group must return in the first path, so that the key follows from the path. Only a rule without
    paths may hold `.*`.

    Attributes:
      pattern: of the keys.
      paths: slash-separated, into {"params": …, "batch_stats": …}, with \1 for the pattern's
        groups; none: the tensor is left out on purpose, and cannot be written.
      layout: of the tensor.
      buffer: for constants that the PyTorch module keeps and ours does not: makes the tensor from
        the array at the first path, which says where there is one. Such keys are left out when
        weights are read.

    Raises:
      ValueError: any other syntax.
    """

    pattern: str
    paths: tuple[str, ...] = ()
    layout: Layout = SAME
    buffer: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        tokens = _tokens(self.pattern)
        if self.paths:
            if any(token == ".*" for token in tokens):
                raise ValueError(f"{self.pattern}: only a rule without paths may hold .*")
            groups = {str(i) for i in range(1, sum(token[0] == "(" for token in tokens) + 1)}
            if set(_REFERENCE.findall(self.paths[0])) != groups:
                raise ValueError(f"{self.pattern}: {self.paths[0]} must hold each of its groups")

    @property
    def filled(self) -> tuple[str, ...]:
        """The paths that a tensor of this rule fills, when weights are read."""
        return () if self.buffer else self.paths

    def match(self, key: str) -> tuple[str, ...] | None:
        """The paths of a key, groups put in; None where it does not match."""
        found = _compiled(self.pattern).fullmatch(key)
        return tuple(found.expand(path) for path in self.paths) if found else None

    def key_of(self, path: str) -> str | None:
        """The PyTorch key whose first path this is; None where there is none."""
        if not self.paths:
            return None
        found = _reverse(self.pattern, self.paths[0]).fullmatch(path)
        if not found:
            return None
        values = iter(found.group(f"g{i + 1}") for i in range(len(found.groups())))
        return "".join(
            next(values) if token[0] == "(" else token[-1] for token in _tokens(self.pattern)
        )


@functools.cache
def _tokens(pattern: str) -> tuple[str, ...]:
    """Letters (a dot as two), groups and `.*`."""
    found, position = [], 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if not token:
            raise ValueError(f"{pattern}: no plain text or simple group at {pattern[position:]}")
        found.append(token.group())
        position = token.end()
    return tuple(found)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@functools.cache
def _reverse(pattern: str, path: str) -> re.Pattern[str]:
    """Matches the paths that a rule writes; group g1 is the pattern's first group."""
    groups = [token[1:-1] for token in _tokens(pattern) if token[0] == "("]
    parts, seen = [], set()
    for index, part in enumerate(_REFERENCE.split(path)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P=g{part})")
        else:
            seen.add(part)
            parts.append(f"(?P<g{part}>{groups[int(part) - 1]})")
    return re.compile("".join(parts))


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts as one dict with slash-separated paths."""
    return traverse_util.flatten_dict(dict(tree), sep="/")


def unflatten(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(arrays), sep="/")


def _first(rules: Sequence[Rule], key: str) -> tuple[Rule, tuple[str, ...]] | None:
    """The rule that decides about a key, and the key's paths."""
    for rule in rules:
        paths = rule.match(key)
        if paths is not None:
            return rule, paths
    return None


def _inverted(
    rules: Sequence[Rule], paths: Iterable[str]
) -> dict[str, tuple[Rule, tuple[str, ...]]]:
    """Every PyTorch key of a network with these paths, its rule and its paths; buffers too."""
    known = dict.fromkeys(paths, "")
    found: dict[str, tuple[Rule, tuple[str, ...]]] = {}
    for rule in rules:
        for key in filter(None, map(rule.key_of, known)):
            first = _first(rules, key)
            if first is None or first[0] is not rule:
                continue  # An earlier rule gives this key another place.
            found[key] = first
            for path in first[1] if rule.filled else ():
                if path not in known:
                    raise WeightsError(f"{key} fills {path} too, which this network lacks")
                if known[path]:
                    raise ValueError(f"both {known[path]} and {key} fill {path}")
                known[path] = key
    bare = [path for path, key in known.items() if not key]
    if bare:
        raise WeightsError(
            f"{bare[0]} has no counterpart in the PyTorch network; use a config of the published"
            " structure"
        )
    return found


def torch_keys(rules: Sequence[Rule], template: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The PyTorch keys that fill a network, and the paths that each fills.

    Args:
      rules: tried in order.
      template: the network's variables, or their shapes.

    Raises:
      WeightsError: a variable that no rule fills.
      ValueError: two keys for one variable.
    """
    entries = _inverted(rules, flatten(template))
    return {key: paths for key, (rule, paths) in entries.items() if rule.filled}


def ignored(keys: Iterable[str], rules: Sequence[Rule]) -> dict[str, str]:
    """The keys that are left out when weights are read, each with the pattern that says so."""
    decided = {key: _first(rules, key) for key in keys}
    return {
        key: first[0].pattern for key, first in decided.items() if first and not first[0].filled
    }


def _torch_shape(rule: Rule, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Shape of the PyTorch tensor that becomes arrays of these shapes."""
    return rule.layout.to_torch(tuple(np.broadcast_to(np.float32(0), x) for x in shapes)).shape


def _check_keys(
    tensors: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    entries: Mapping[str, tuple[Rule, tuple[str, ...]]],
    source: str,
) -> None:
    """Every key of the network is there, and nothing else but what a rule leaves out."""
    missing = [key for key, (rule, _) in entries.items() if rule.filled and key not in tensors]
    if missing:
        more = f" (and {len(missing) - 1} more keys)" if len(missing) > 1 else ""
        raise WeightsError(
            f"{source} lacks {missing[0]}, which fills {entries[missing[0]][1][0]}{more}; use the"
            " complete state_dict of this network"
        )
    for key in tensors:
        if key in entries:
            continue
        first = _first(rules, key)
        if first is None:
            raise WeightsError(
                f"{source} holds {key}, which this network does not have; use the state_dict of"
                " this network alone"
            )
        if first[1]:
            raise WeightsError(
                f"{source} holds {key}, which belongs at {first[1][0]}, and this network has no"
                " such layer; use the config that the weights were made with"
            )


def from_torch(
    tensors: Mapping[str, np.ndarray],
    rules: Sequence[Rule],
    template: Mapping[str, Any],
    *,
    source: str = "the weight file",
) -> dict[str, Any]:
    """Linen variables from a state_dict.

    Args:
      tensors: the state_dict as NumPy arrays.
      rules: tried in order.
      template: shapes of the variables, from `jax.eval_shape` of the network's init.
      source: the file, for messages.

    Raises:
      WeightsError: a key that is missing, unknown, of another shape or not of floating-point
        numbers.
    """
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(template).items()}
    entries = _inverted(rules, shapes)
    _check_keys(tensors, rules, entries, source)
    found: dict[str, np.ndarray] = {}
    for key, (rule, paths) in entries.items():
        if not rule.filled:
            continue
        tensor = np.asarray(tensors[key])
        needed = _torch_shape(rule, [shapes[path] for path in paths])
        if tensor.shape != needed:
            raise WeightsError(
                f"{source}: {key} has shape {tensor.shape}, but this network needs {needed}; use"
                " the config that the weights were made with"
            )
        if tensor.dtype.kind != "f" and tensor.dtype.name != "bfloat16":
            raise WeightsError(
                f"{source}: {key} holds {tensor.dtype} numbers, not floating-point ones; use the"
                " file as it was trained"
            )
        for path, array in zip(paths, rule.layout.to_ours(tensor), strict=True):
            if array.shape != shapes[path]:
                raise ValueError(f"{key} becomes {array.shape} at {path}, not {shapes[path]}")
            found[path] = np.asarray(array, np.float32, order="C")
    return unflatten(found)


def to_torch(
    variables: Mapping[str, Any], rules: Sequence[Rule], *, partial: bool = False
) -> dict[str, np.ndarray]:
    """The PyTorch state_dict of Linen variables: every key that the rules can write.

    Args:
      variables: all variables of the network.
      rules: those that would read it.
      partial: `variables` are a part of the network's, or gradients; constants of the PyTorch
        modules are left out.

    Raises:
      WeightsError: a variable without a counterpart; variables that miss what a rule writes (unless
        `partial`).
    """
    arrays = flatten(variables)
    entries = _inverted(rules, arrays)
    if not partial:
        written = {id(rule) for rule, _ in entries.values()}
        for rule in rules:
            if rule.paths and id(rule) not in written:
                raise WeightsError(
                    f"the variables hold nothing at {rule.paths[0]}, from which the PyTorch key"
                    f" {rule.pattern} is written; give all variables of the network"
                )
    found = {}
    for key, (rule, paths) in entries.items():
        if rule.buffer is None:
            found[key] = rule.layout.to_torch(tuple(np.asarray(arrays[path]) for path in paths))
        elif not partial:
            found[key] = rule.buffer(np.asarray(arrays[paths[0]]))
    return found


def write_safetensors(
    path: pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    remedy: str = "free space or choose another place",
) -> None:
    """Writes tensors to a safetensors file, whole or not at all.

    Args:
      path: the file; its folder is made, and a file there is replaced.
      tensors: in any memory layout.
      metadata: text entries of the header.
      remedy: what to do where it fails, for the message.

    Raises:
      WeightsError: a full disk, no permission, or a folder, device or pipe where the file should
        be.
    """
    from safetensors.numpy import save

    if path.exists() and not path.is_file():
        # A device or a pipe would be renamed away.
        raise WeightsError(f"{path} is no file that could be replaced; choose another place")
    # Not ascontiguousarray, which turns a number into an array of one.
    dense = {key: np.asarray(tensor, order="C") for key, tensor in tensors.items()}
    data = save(dense, metadata=dict(metadata))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written ({error.strerror}); {remedy}") from error
