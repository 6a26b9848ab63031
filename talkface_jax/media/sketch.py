"""Line drawing of a face from its landmarks, as IP-LAP's renderer takes it (released code)."""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from talkface_jax.landmarks.schemes import get_scheme

SKETCH_SIZE = 128
_BRIGHTNESS = 224


def draw_lines(
    points: Float[np.ndarray, "131 2"], crop_size: tuple[float, float]
) -> Float32[np.ndarray, "128 128"]:
    """The drawing before rounding, in 0..255.

    Lines one pixel wide and of value 224 on a canvas of the crop's shape whose short side is 128,
    resized bilinearly to 128x128; a pixel is floor(x * width). A line with an end outside [0, 1] is
    left out.

    Args:
      points: `iplap131` points normalised to the crop.
      crop_size: height and width of the crop in source pixels; only their ratio matters.
    """
    import cv2

    scheme = get_scheme("iplap131")
    short = min(crop_size)
    height, width = (int(side * SKETCH_SIZE / short) for side in crop_size)
    canvas = np.zeros((height, width), np.float32)
    points = np.asarray(points, np.float64)
    inside = np.all((points >= 0) & (points <= 1), -1)
    pixels = np.floor(np.where(inside[:, None], points, 0) * (width, height)).astype(np.int32)
    pixels = np.minimum(pixels, np.array((width - 1, height - 1), np.int32))
    edges = np.asarray(scheme.edges)
    lines = pixels[edges[inside[edges].all(1)]]
    cv2.polylines(canvas, list(lines), False, _BRIGHTNESS, 1)
    return cv2.resize(canvas, (SKETCH_SIZE, SKETCH_SIZE), interpolation=cv2.INTER_LINEAR)


def draw_sketch(
    points: Float[np.ndarray, "131 2"],
    crop_size: tuple[float, float],
    *,
    size: int = SKETCH_SIZE,
) -> UInt8[np.ndarray, "s s 3"]:
    """`draw_lines` as bytes in three equal channels; divide by 255 for the network's [0, 1].

    The drawing is made at 128 whatever the `size`, then resized, so that line widths are the
    published.
    """
    import cv2

    drawing = draw_lines(points, crop_size)
    if size != SKETCH_SIZE:
        how = cv2.INTER_AREA if size < SKETCH_SIZE else cv2.INTER_LINEAR
        drawing = cv2.resize(drawing, (size, size), interpolation=how)
    return np.repeat(np.rint(drawing).astype(np.uint8)[..., None], 3, axis=-1)
