"""One picture of a face many times: mirrored, moved, turned, scaled and recoloured by a little."""

import dataclasses

import numpy as np
from jaxtyping import Float32

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.images import decode_jpeg, encode_jpeg
from talkface_jax.records import RECORD_SIZE, Segment

TURN = 5.0
"""Degrees to either side."""
SCALE, SHIFT = 0.06, 0.03
"""Change of size, and of place in widths of the crop, to either side."""
COLOUR = 0.12
"""Factor of a colour channel, to either side of 1."""
_QUALITY = 97
_MESH = get_scheme("mesh478")


def picture_variants(segment: Segment, *, count: int, seed: int) -> tuple[Segment, ...]:
    """Segments of one frame that show the first frame of `segment` changed, landmarks along with
    it; the same seed gives the same.

    Their speaker has no name: two variants are differently coloured pictures, of which none is to
    stand beside another.

    Args:
      segment: of a picture (`data.picture`).
      count: how many.
      seed: of the draws.
    """
    import cv2

    image = decode_jpeg(segment.frames[0])
    rng = np.random.Generator(np.random.PCG64((seed, count)))
    found = []
    for number in range(count):
        mirrored = bool(rng.random() < 0.5)
        matrix = _similarity(rng)
        levels = np.arange(256)[:, None] * rng.uniform(1 - COLOUR, 1 + COLOUR, 3)
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        points = segment.landmarks[:1].copy()
        source = image
        if mirrored:
            source, points = np.ascontiguousarray(image[:, ::-1]), _MESH.mirror(points)
        # Pixel centres lie half a pixel inside of the crop.
        pixels = matrix.copy()
        pixels[:, 2] = matrix[:, 2] * RECORD_SIZE + matrix[:, :2] @ [0.5, 0.5] - 0.5
        size = (RECORD_SIZE, RECORD_SIZE)
        moved = cv2.warpAffine(source, pixels, size, borderMode=cv2.BORDER_REPLICATE)
        coloured = np.stack([cv2.LUT(moved[..., c], table[:, c]) for c in range(3)], -1)
        points[..., :2] = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        info = dataclasses.replace(segment.info, clip=f"{segment.info.clip}/{number}", speaker="")
        found.append(
            dataclasses.replace(
                segment,
                info=info,
                frames=(encode_jpeg(coloured, quality=_QUALITY),),
                landmarks=points.astype(np.float32),
                audio=segment.audio[: len(segment.audio) // len(segment)],
                **{name: getattr(segment, name)[:1] for name in _KEPT},
            )
        )
    return tuple(found)


_KEPT = ("head", "blendshapes", "box", "valid")


def _similarity(rng: np.random.Generator) -> Float32[np.ndarray, "2 3"]:
    """Turn and scale about the middle of the crop, and a shift, for coordinates in [0, 1]."""
    angle = np.deg2rad(rng.uniform(-TURN, TURN))
    scale = np.exp(rng.uniform(-SCALE, SCALE))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([0.5, 0.5])
    shift = middle - turn @ middle + rng.uniform(-SHIFT, SHIFT, 2)
    return np.concatenate([turn, shift[:, None]], 1).astype(np.float32)
