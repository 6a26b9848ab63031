"""Pictures for TensorBoard that stages share, made on the host."""

from collections.abc import Callable, Sequence

import numpy as np

from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.task import Previews

SIZE = 192
SHOWN = 6
"""Items of a batch that are shown."""
TRUE_COLOUR = (120, 120, 120)
PREDICTED_COLOUR = (220, 60, 40)


def rows(items: int, cells: Callable[[int], Sequence[np.ndarray]]) -> Previews:
    """A row per item of at most `SHOWN`, its pictures side by side."""
    shown = range(min(SHOWN, items))
    grid = np.concatenate([np.concatenate(cells(item), 1) for item in shown], 0)
    return Previews(images={"faces": grid})


def moving_faces(
    true: np.ndarray, predicted: np.ndarray, *, edges: np.ndarray, unit: float, centre: float
) -> Previews:
    """True faces (b, t, n, 2) in grey under predicted ones in red, beside each other: the middle
    frames as a picture, all as a video.

    Args:
      true, predicted: the points; only `SHOWN` items are drawn.
      edges: which of them are connected.
      unit, centre: pixels of a unit, and where the origin lies in a picture of `SIZE` pixels.
    """

    def frame(item: int, t: int) -> np.ndarray:
        canvas = np.full((SIZE, SIZE, 3), 255, np.uint8)
        for points, colour in ((true, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
            draw_wireframe(canvas, points[item, t] * unit + centre, edges, colour)
        return canvas

    count, frames = min(SHOWN, len(true)), true.shape[1]
    video = np.stack(
        [np.concatenate([frame(item, t) for item in range(count)], 1) for t in range(frames)]
    )
    return Previews(images={"landmarks": video[frames // 2]}, videos={"landmarks": video})
