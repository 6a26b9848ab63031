"""Pictures of the reader of emotions for TensorBoard, made on the host."""

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.metrics.emotion import confusion
from talkface_jax.records import EMOTIONS
from talkface_jax.task import Batch, Outputs, Previews

_CELL = 32
_MARGIN = 96


def reader(outputs: Outputs, batch: Batch) -> Previews:
    """Rows: what was shown; columns: what it was taken for, in the same order; dark is often."""
    found = np.asarray(outputs["logits"]).argmax(-1)
    table = confusion(found, np.asarray(batch["emotion"]), len(EMOTIONS))
    return Previews(images={"confusion": _draw(table)})


def _draw(table: Float[np.ndarray, "k k"]) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    cells = np.kron(shares, np.ones((_CELL, _CELL)))
    panel = np.full((len(cells), _MARGIN + len(cells), 3), 255, np.uint8)
    panel[:, _MARGIN:] = np.rint(255 * (1 - cells))[..., None]
    for row, name in enumerate(EMOTIONS):
        place = (4, _CELL * row + 20)
        cv2.putText(panel, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return panel
