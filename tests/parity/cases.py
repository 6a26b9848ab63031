"""Loads parity cases: inputs and outputs of public PyTorch code, and its weights by `fill`."""

import json
import pathlib

import fill
import numpy as np

HERE = pathlib.Path(__file__).parent


def load(folder: str, name: str) -> dict[str, np.ndarray]:
    """All arrays of one case."""
    with np.load(HERE / folder / f"{name}.npz") as case:
        return dict(case)


def manifest(folder: str) -> dict:
    """Keys and shapes of the folder's networks, and the note."""
    return json.loads((HERE / folder / "manifest.json").read_text())


def state_dict(folder: str, network: str) -> dict[str, np.ndarray]:
    """The PyTorch weights that the case was made with."""
    found = manifest(folder)
    note = found["_note"]
    scales = note["scales"].get(network, note["scales"])
    return fill.state_dict(found[network], note["seed"], scales)


def last(x: np.ndarray) -> np.ndarray:
    """Channels before height and width -> channels last."""
    return np.moveaxis(x, -3, -1)


def rgb(x: np.ndarray) -> np.ndarray:
    """BGR images, channels before height and width -> RGB, channels last."""
    return last(x)[..., ::-1]
