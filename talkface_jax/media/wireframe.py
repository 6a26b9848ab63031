"""Line drawings of landmarks for people to look at; what networks see is `media.sketch`."""

import numpy as np
from jaxtyping import Float, Int, UInt8

# Bits of a line's coordinates behind the point: a sixteenth of a pixel.
_SHIFT = 4


def draw_wireframe(
    canvas: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
    edges: Int[np.ndarray, "e 2"],
    colour: tuple[int, int, int],
) -> None:
    """Draws the edges between points in pixels onto the canvas, anti-aliased."""
    import cv2

    fixed = np.round(points * 2**_SHIFT).astype(np.int32)
    for a, b in edges:
        start, stop = (tuple(map(int, fixed[index])) for index in (a, b))
        cv2.line(canvas, start, stop, colour, 1, cv2.LINE_AA, _SHIFT)
