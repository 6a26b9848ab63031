"""JPEG coding and box crops.

Boxes are x0, y0, x1, y1 in continuous pixel coordinates: 0 is the left edge of the first pixel,
whose centre is at 0.5, which is also how the landmarks count.
"""

import math

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.errors import MediaError

_QUALITY = 95


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"], *, quality: int = _QUALITY) -> bytes:
    """The RGB image as JPEG (4:2:0)."""
    import cv2

    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise MediaError(
            f"an image of shape {image.shape} cannot be coded as JPEG; check its size."
        )
    return data.tobytes()


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB image of `encode_jpeg`.

    Raises:
      MediaError: the bytes are no image.
    """
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise MediaError(
            f"{len(data)} bytes that should be a JPEG are not; prepare the data again."
        )
    return image


def crop_resize(
    image: UInt8[np.ndarray, "h w 3"],
    box: Float[np.ndarray, " 4"],
    size: tuple[int, int],
    *,
    cubic: bool = False,
) -> UInt8[np.ndarray, "h w 3"]:
    """The box of the image at `size` (height, width): bilinear, or cubic, and subpixel-exact.

    A box larger than the output is sampled on a grid a whole number of times finer and averaged, so
    that nothing aliases; outside the image its border is repeated.

    Raises:
      ValueError: the box is empty or not finite.
    """
    import cv2

    x0, y0, x1, y1 = (float(v) for v in box)
    if not (math.isfinite(x0 + y0 + x1 + y1) and x1 > x0 and y1 > y0):
        raise ValueError(f"box {box} is empty or not finite")
    height, width = size
    finer = max(1, math.ceil(max((x1 - x0) / width, (y1 - y0) / height) - 0.25))
    step_x, step_y = (x1 - x0) / (width * finer), (y1 - y0) / (height * finer)
    # Output pixel a covers x0 + a * step .. x0 + (a + 1) * step; OpenCV counts pixel centres as
    # integers.
    inverse = np.array(
        [[step_x, 0, x0 + step_x / 2 - 0.5], [0, step_y, y0 + step_y / 2 - 0.5]], np.float64
    )
    crop = cv2.warpAffine(
        image,
        inverse,
        (width * finer, height * finer),
        flags=(cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if finer > 1:
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    return crop
