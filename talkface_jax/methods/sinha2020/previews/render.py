"""Pictures of the render stage."""

from typing import Any

import jax
import numpy as np

from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.task import Batch, Outputs, Previews

SHOWN = 6


def render(outputs: Outputs, batch: Batch) -> Previews:
    """A row per item: identity, landmark maps (identity's in red, the target's in cyan), colour
    map, attention map, image, target."""
    count = min(SHOWN, len(batch["face"]))
    size = batch["face"].shape[1]
    drawn = [
        _drawing(np.asarray(batch[name][:count]), size) for name in ("identity_points", "points")
    ]
    rows = []
    for item in range(count):
        attention = np.repeat(np.asarray(outputs["attention"][item]), 3, -1)
        cells = [
            np.asarray(batch["identity"][item]),
            _as_bytes(1 - np.stack([drawn[1][item], drawn[0][item], drawn[0][item]], -1)),
            _as_bytes(outputs["colour"][item]),
            _as_bytes(attention),
            _as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]
        rows.append(np.concatenate(cells, 1))
    return Previews(images={"faces": np.concatenate(rows, 0)})


def _as_bytes(image: Any) -> np.ndarray:
    return np.clip(np.asarray(image) * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _drawing(points: np.ndarray, size: int) -> np.ndarray:
    """All maps laid over each other, areas fainter: (b, size, size)."""
    maps = np.asarray(jax.jit(landmark_maps, static_argnames="size")(points, size=size))
    lines, areas = maps[..., :6], maps[..., 6:]
    return np.maximum(lines.max(-1), 0.3 * areas.max(-1))
