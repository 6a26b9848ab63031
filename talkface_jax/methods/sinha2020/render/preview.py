"""Pictures of the render stage."""

import jax
import numpy as np

from talkface_jax.methods import pictures
from talkface_jax.methods.base import as_bytes
from talkface_jax.models.landmark_maps import landmark_maps
from talkface_jax.task import Batch, Outputs, Previews


def render(outputs: Outputs, batch: Batch) -> Previews:
    """A row per item: identity, landmark maps (identity's in red, the target's in cyan), colour
    map, attention map, image, target."""
    size = batch["face"].shape[1]
    red, cyan = (
        _drawing(np.asarray(batch[name][: pictures.SHOWN]), size)
        for name in ("identity_points", "points")
    )

    def cells(item: int) -> list[np.ndarray]:
        return [
            np.asarray(batch["identity"][item]),
            as_bytes(1 - np.stack([cyan[item], red[item], red[item]], -1)),
            as_bytes(outputs["colour"][item]),
            as_bytes(np.repeat(np.asarray(outputs["attention"][item]), 3, -1)),
            as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]

    return pictures.rows(len(batch["face"]), cells)


def _drawing(points: np.ndarray, size: int) -> np.ndarray:
    """All maps laid over each other, areas fainter: (b, size, size)."""
    maps = np.asarray(jax.jit(landmark_maps, static_argnames="size")(points, size=size))
    lines, areas = maps[..., :6], maps[..., 6:]
    return np.maximum(lines.max(-1), 0.3 * areas.max(-1))
