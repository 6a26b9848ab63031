"""Pictures of the blink stage."""

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.landmarks import blinks
from talkface_jax.landmarks.retarget import MEAN_FACE
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.methods.pictures import PREDICTED_COLOUR, SHOWN, TRUE_COLOUR
from talkface_jax.task import Batch, Outputs, Previews

_STEP = 6
"""Pixels of a frame in the picture of closure over time."""
_ROW = 60
# A closure of 1.7 fills a row.
_SCALE = _ROW / 2
_EYES = 240, 96
_UNIT = 150.0


def blink(outputs: Outputs, batch: Batch) -> Previews:
    """Generated in red, real in grey, which do not belong together: closure over time, a row an
    item, and the eyes on the mean face."""
    tracks = [np.asarray(part["blink"])[:SHOWN] for part in (batch, outputs)]
    return Previews(
        images={"closure": _curves(*(blinks.closure(track) for track in tracks))},
        videos={"eyes": np.concatenate([_eyes(t, c) for t, c in _coloured(tracks)], 1)},
    )


def _coloured(tracks: list[np.ndarray]) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    return list(zip(tracks, (TRUE_COLOUR, PREDICTED_COLOUR), strict=True))


def _curves(
    real: Float[np.ndarray, "b t"], made: Float[np.ndarray, "b t"]
) -> UInt8[np.ndarray, "h w 3"]:
    frames = real.shape[1]
    edges = np.stack([np.arange(frames - 1), np.arange(1, frames)], -1)
    rows = []
    for pair in zip(real, made, strict=True):
        canvas = np.full((_ROW, frames * _STEP, 3), 255, np.uint8)
        for curve, colour in _coloured(list(pair)):
            x = (np.arange(frames) + 0.5) * _STEP
            points = np.stack([x, _ROW - _SCALE * (curve + 0.25)], -1)
            draw_wireframe(canvas, points, edges, colour)
        rows.append(canvas)
    return np.concatenate(rows)


def _eyes(
    tracks: Float[np.ndarray, "b t 22 2"], colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "t h w 3"]:
    """The tracks on the mean face's eyes and brows, side by side."""
    scheme = get_scheme("ibug68")
    shown = np.isin(scheme.edges, blinks.POINTS).all(1)
    middle = MEAN_FACE[blinks.POINTS].mean(0)
    width, height = _EYES
    frames = []
    for moment in np.moveaxis(tracks, 1, 0):
        cells = []
        for displacement in moment:
            canvas = np.full((height, width, 3), 255, np.uint8)
            face = MEAN_FACE.copy()
            face[blinks.POINTS] += displacement
            points = (face - middle) * _UNIT + np.array([width, height]) / 2
            draw_wireframe(canvas, points, scheme.edges[shown], colour)
            cells.append(canvas)
        frames.append(np.concatenate(cells, 1))
    return np.stack(frames)
