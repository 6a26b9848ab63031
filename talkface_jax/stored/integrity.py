"""Integrity of checkpoints: a CRC-32C for every leaf and for the JSON beside them."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import google_crc32c
import jax
import numpy as np

from talkface_jax.errors import CheckpointError


def checksum(leaf: Any) -> int:
    """CRC-32C of a whole array, the same on any sharding; collective where it spans processes."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        from jax.experimental import multihost_utils

        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    array = np.ascontiguousarray(np.asarray(leaf))
    return google_crc32c.value(array.tobytes())


def digest(tree: Any) -> str:
    """sha256 over the names, types, shapes and values of a tree's arrays."""
    found = hashlib.sha256()
    named = {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    for name, leaf in sorted(named.items()):
        array = np.ascontiguousarray(leaf)
        found.update(f"{name} {array.dtype.name} {tuple(array.shape)}".encode())
        found.update(array.data)
    return found.hexdigest()


def verify(leaves: Mapping[str, Any], expected: Mapping[str, int], path: pathlib.Path) -> None:
    """Compares what was read with what was written.

    Raises:
      CheckpointError: a leaf differs; it is named.
    """
    for name, leaf in leaves.items():
        if checksum(leaf) != expected[name]:
            raise damage(path, f"{name} differs from what was written")


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """A JSON document with its own checksum.

    A copy: it is written in the background, while the run goes on to change what it was made of.
    """
    canonical = _canonical(document)
    return {"document": json.loads(canonical), "crc32c": google_crc32c.value(canonical)}


def _canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def read_document(path: pathlib.Path) -> dict[str, Any]:
    """The sealed JSON beside the arrays.

    Raises:
      CheckpointError: it is missing or damaged.
    """
    try:
        sealed = json.loads((path / "meta" / "metadata").read_text())
        document = sealed["document"]
        intact = google_crc32c.value(_canonical(document)) == sealed["crc32c"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damage(path, f"its description cannot be read: {reason(error)}") from error
    if not intact:
        raise damage(path, "its description differs from what was written")
    return document


@contextlib.contextmanager
def explain_damage(path: pathlib.Path) -> Iterator[None]:
    """Orbax and TensorStore raise many types for a damaged file; all of them mean the same here."""
    try:
        yield
    except Exception as error:
        raise damage(path, f"it cannot be read: {reason(error)}") from error


def damage(path: pathlib.Path, what: str) -> CheckpointError:
    """The error for a checkpoint that is not as it was written."""
    return CheckpointError(
        f"{path} is damaged ({what}); delete that folder and run again to go on from an earlier one"
    )


def reason(error: BaseException) -> str:
    """The cause in few words; TensorStore wraps the system's error code in its own long text."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    code = re.search(r"os_error_code='(\d+)'", text)
    if code:
        return os.strerror(int(code[1]))
    return text if len(text) <= 200 else "its bytes do not decode"
