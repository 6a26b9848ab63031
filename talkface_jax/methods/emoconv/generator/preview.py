"""Pictures of the generator stage."""

import numpy as np

from talkface_jax.methods import pictures
from talkface_jax.methods.base import as_bytes
from talkface_jax.task import Batch, Outputs, Previews

_SOURCE, _DRIVING = (60, 120, 255), (255, 80, 60)


def render(outputs: Outputs, batch: Batch) -> Previews:
    """A row per item: picture with both sets of keypoints (its own in blue, the target's in red),
    occlusion, image, target."""
    size = batch["face"].shape[1]

    def cells(item: int) -> list[np.ndarray]:
        picture = np.array(batch["identity"][item])
        for key, colour in (("source", _SOURCE), ("driving", _DRIVING)):
            _dot(picture, np.asarray(outputs[key][item]), colour)
        hidden = np.asarray(outputs["occlusion"][item])
        times = size // hidden.shape[0]
        shown = np.repeat(np.repeat(hidden, times, 0), times, 1)
        return [
            picture,
            as_bytes(np.repeat(shown, 3, -1)),
            as_bytes(outputs["image"][item]),
            np.asarray(batch["face"][item]),
        ]

    return pictures.rows(len(batch["face"]), cells)


def _dot(picture: np.ndarray, keypoints: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draws keypoints (k, 3) in [-1, 1] onto a picture."""
    size = len(picture)
    places = np.clip(np.rint((keypoints[:, :2] + 1) / 2 * size - 0.5), 0, size - 2).astype(int)
    for x, y in places:
        picture[y : y + 2, x : x + 2] = colour
