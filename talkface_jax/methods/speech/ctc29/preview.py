"""Pictures of the recogniser for TensorBoard, made on the host."""

import numpy as np

from talkface_jax.features import alphabet
from talkface_jax.task import Batch, Outputs, Previews

SHOWN = 4
_SCALE = 2
_LINE = 22


def recogniser(outputs: Outputs, batch: Batch) -> Previews:
    """Each item's spectrogram, low bands at the bottom, over its true and its recognised text."""
    mel, labels = np.asarray(batch["mel"]), np.asarray(batch["labels"])
    logits = np.asarray(outputs["logits"])
    rows = [
        _panel(mel[item], alphabet.decode(labels[item]), alphabet.greedy_text(logits[item]))
        for item in range(min(SHOWN, len(mel)))
    ]
    return Previews(images={"recognised": np.concatenate(rows, 0)})


def _panel(mel: np.ndarray, true: str, found: str) -> np.ndarray:
    import cv2

    low, high = mel.min(), max(mel.max(), mel.min() + 1e-6)
    gray = ((mel.T[::-1] - low) / (high - low) * 255).astype(np.uint8)
    large = np.repeat(np.repeat(gray, _SCALE, 0), _SCALE, 1)
    panel = np.full((large.shape[0] + 2 * _LINE, large.shape[1], 3), 255, np.uint8)
    panel[: large.shape[0]] = large[..., None]
    for line, (text, colour) in enumerate(((true, (80, 80, 80)), (found, (200, 40, 30)))):
        place = (4, large.shape[0] + _LINE * (line + 1) - 7)
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return panel
