"""Pictures of the motion stage."""

import numpy as np

from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.task import Batch, Outputs, Previews

SIZE = 192
SHOWN = 6
TRUE_COLOUR = (120, 120, 120)
PREDICTED_COLOUR = (220, 60, 40)
# The mean face is 1.7 units high; this leaves it a border.
_UNIT = SIZE / 2.1


def motion(outputs: Outputs, batch: Batch) -> Previews:
    """True motion in grey under the predicted one in red, both on the mean face: middle frames as a
    grid, all as a video."""
    predicted, true = np.asarray(outputs["offsets"]), np.asarray(batch["offsets"])
    edges = get_scheme("ibug68").edges

    def frame(item: int, t: int) -> np.ndarray:
        canvas = np.full((SIZE, SIZE, 3), 255, np.uint8)
        for offsets, colour in ((true, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
            points = (MEAN_FACE + offsets[item, t]) * _UNIT + SIZE / 2
            draw_wireframe(canvas, points, edges, colour)
        return canvas

    count, frames = min(SHOWN, len(true)), true.shape[1]
    video = np.stack(
        [np.concatenate([frame(item, t) for item in range(count)], 1) for t in range(frames)]
    )
    return Previews(images={"landmarks": video[frames // 2]}, videos={"landmarks": video})
