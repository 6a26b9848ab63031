"""PyTorch's spectral normalisation, taken out of state_dicts and put back.

A normalised layer keeps `weight_orig` and two vectors, `weight_u` and `weight_v`; in evaluation its
weight is weight_orig / (u · W v), W being weight_orig with one row an output. The networks here
hold that weight.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from talkface_jax.errors import WeightsError

_PARTS = ("weight_orig", "weight_u", "weight_v")


def fold(
    tensors: Mapping[str, np.ndarray], *, source: str = "the weight file"
) -> dict[str, np.ndarray]:
    """The state_dict with `weight` for every triple of keys; the other tensors as they are.

    Triples without one of the three, and those that do not fit each other, are refused.

    Args:
      tensors: the state_dict.
      source: the file, for messages.

    Raises:
      WeightsError: as above.
    """
    folded: dict[str, np.ndarray] = {}
    for key, tensor in tensors.items():
        layer, _, name = key.rpartition(".")
        if name not in _PARTS:
            folded[key] = tensor
        elif (weight := _key(layer, "weight")) not in folded:
            parts = [_key(layer, part) for part in _PARTS]
            for part in parts:
                if part not in tensors:
                    raise WeightsError(
                        f"{source} holds {key}, but not {part}, which its spectral normalisation"
                        " needs; use the complete state_dict"
                    )
            if weight in tensors:
                raise WeightsError(
                    f"{source} holds both {weight} and {key}; use the state_dict as it was trained"
                )
            triple = (np.asarray(tensors[part]) for part in parts)
            folded[weight] = _normalised(*triple, key=parts[0], source=source)
    return folded


def _key(layer: str, name: str) -> str:
    return f"{layer}.{name}" if layer else name


def _normalised(
    weight: np.ndarray, u: np.ndarray, v: np.ndarray, *, key: str, source: str
) -> np.ndarray:
    if weight.ndim < 2 or (u.shape, v.shape) != ((len(weight),), (weight[0].size,)):
        raise WeightsError(
            f"{source}: the vectors of {key}'s spectral normalisation have the shapes {u.shape} and"
            f" {v.shape}, which do not fit {weight.shape}; use the file as it was trained"
        )
    if any(x.dtype.kind != "f" and x.dtype.name != "bfloat16" for x in (weight, u, v)):
        raise WeightsError(
            f"{source}: {key} and its spectral normalisation are not floating-point numbers; use"
            " the file as it was trained"
        )
    wide = weight.astype(np.float64)
    norm = u.astype(np.float64) @ wide.reshape(len(wide), -1) @ v.astype(np.float64)
    if not np.isfinite(norm) or norm == 0:
        raise WeightsError(
            f"{source}: the spectral norm of {key} is {norm}, by which nothing can be divided; use"
            " the file as it was trained"
        )
    return (wide / norm).astype(np.float32)


def unfold(tensors: Mapping[str, np.ndarray], keys: Iterable[str]) -> dict[str, np.ndarray]:
    """The inverse of `fold`: the named `weight`s as triples whose normalised weight they are.

    u is the first left singular vector, and v is as long as makes u · W v one; PyTorch, which
    normalises both in training, goes on from there.

    Raises:
      WeightsError: a weight that is zero, which no normalised layer has.
    """
    named, written = set(keys), {}
    for key, tensor in tensors.items():
        if key not in named:
            written[key] = tensor
            continue
        layer = key.rpartition(".")[0]
        rows = np.asarray(tensor, np.float64).reshape(len(tensor), -1)
        u = np.linalg.eigh(rows @ rows.T)[1][:, -1]
        v = rows.T @ u
        if not (length := float(v @ v)):
            raise WeightsError(f"{key} is zero, which a spectrally normalised layer cannot be")
        parts = (tensor, u, v / length)
        for name, part in zip(_PARTS, parts, strict=True):
            written[_key(layer, name)] = np.asarray(part, np.float32)
    return written
