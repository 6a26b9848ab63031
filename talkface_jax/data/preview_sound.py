"""The sound of a clip as a picture: log-mel, waveform and mouth opening under a moving cursor."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, UInt8

from talkface_jax.data.preview_text import text_image
from talkface_jax.features import mel
from talkface_jax.records import AUDIO_RATE, FPS

MEL_HEIGHT, WAVE_HEIGHT = 112, 96
HEIGHT = MEL_HEIGHT + WAVE_HEIGHT
OPENING_COLOUR = (255, 165, 60)
_PIXELS_PER_SECOND = 200
_SAMPLES_PER_PIXEL = AUDIO_RATE // _PIXELS_PER_SECOND
_WAVE_COLOUR, _GROUND, _GRID = (120, 170, 220), (18, 20, 26), (60, 64, 74)
_CURSOR = (255, 255, 255)


@dataclasses.dataclass(frozen=True)
class SoundTrack:
    """The sound and the mouth of a whole clip.

    Attributes:
      mel: log-mel as an RGB picture, a column for each of 80 rows a second, low bands at the
        bottom.
      peaks: lowest and highest sample of each 200th of a second, over the clip's largest.
      opening: mouth opening of each frame over the clip's largest, NaN where there is no face.
    """

    mel: UInt8[np.ndarray, "80 m 3"]
    peaks: Float32[np.ndarray, "p 2"]
    opening: Float[np.ndarray, " t"]


def make_track(
    samples: Int16[np.ndarray, " s"],
    opening: Float[np.ndarray, " t"],
    valid: Bool[np.ndarray, " t"],
) -> SoundTrack:
    """Computes the pictures' parts from mono 16 kHz sound and the mouth opening of each frame."""
    import cv2

    sound = samples.astype(np.float32) / 32768
    bands = mel.log_mel(sound).T[::-1]
    grey = np.rint((bands + 4) / 8 * 255).astype(np.uint8)
    coloured = cv2.applyColorMap(np.ascontiguousarray(grey), cv2.COLORMAP_INFERNO)[..., ::-1]
    loudest = float(np.abs(sound).max())
    sound = sound / loudest if loudest > 0 else sound
    padded = np.pad(sound, (0, -len(sound) % _SAMPLES_PER_PIXEL)).reshape(-1, _SAMPLES_PER_PIXEL)
    largest = float(opening[valid].max()) if np.any(valid) else 0.0
    scaled = np.where(valid, opening / largest if largest > 0 else opening, np.nan)
    return SoundTrack(
        np.ascontiguousarray(coloured), np.stack([padded.min(1), padded.max(1)], -1), scaled
    )


def draw_strip(track: SoundTrack, *, frame: int, width: int) -> UInt8[np.ndarray, "208 w 3"]:
    """The sound around a frame, the cursor at the frame's middle.

    A clip longer than the strip scrolls under the cursor.
    """
    seconds = len(track.opening) / FPS
    span = width / _PIXELS_PER_SECOND
    at = (frame + 0.5) / FPS
    left = min(max(0.0, at - span / 2), max(0.0, seconds - span))
    canvas = np.full((HEIGHT, width, 3), _GROUND, np.uint8)
    canvas[:MEL_HEIGHT] = _mel_window(track.mel, left, width)
    _draw_wave(canvas[MEL_HEIGHT:], track, left)
    _draw_seconds(canvas, left, seconds)
    for height, text in ((3, "log-mel, 0 to 7.6 kHz"), (MEL_HEIGHT + 3, "sound and mouth opening")):
        _stamp(canvas, text, 5, height)
    column = round((at - left) * _PIXELS_PER_SECOND)
    canvas[:, max(0, column - 1) : column + 1] = _CURSOR
    return canvas


def draw_overview(track: SoundTrack, *, frames: list[int], width: int) -> np.ndarray:
    """The whole clip's log-mel over its waveform, with a mark at each of the frames."""
    import cv2

    count = len(track.opening)
    canvas = np.full((HEIGHT, width, 3), _GROUND, np.uint8)
    canvas[:MEL_HEIGHT] = cv2.resize(track.mel, (width, MEL_HEIGHT), interpolation=cv2.INTER_AREA)
    edges = np.linspace(0, len(track.peaks), width + 1)
    low, high = np.floor(edges[:-1]).astype(int), np.maximum(np.ceil(edges[1:]).astype(int), 1)
    peaks = np.array(
        [
            (track.peaks[a:b, 0].min(), track.peaks[a:b, 1].max())
            for a, b in zip(low, high, strict=True)
        ]
    )
    _fill(canvas[MEL_HEIGHT:], peaks)
    places = (np.arange(count) + 0.5) / count * width
    _trace(canvas[MEL_HEIGHT:], places, track.opening)
    for frame in frames:
        canvas[:, min(width - 1, int((frame + 0.5) / count * width))] = _CURSOR
    return canvas


def _mel_window(picture: np.ndarray, left: float, width: int) -> np.ndarray:
    """Columns from second `left` on, blended between the spectrogram's."""
    import cv2

    places = (left + (np.arange(width) + 0.5) / _PIXELS_PER_SECOND) * mel.ROWS_PER_SECOND
    known = places <= picture.shape[1] - 1
    low = np.minimum(places.astype(int), picture.shape[1] - 1)
    part = np.minimum(places - low, 1)[None, :, None]
    after = np.minimum(low + 1, picture.shape[1] - 1)
    columns = (1 - part) * picture[:, low] + part * picture[:, after]
    columns[:, ~known] = _GROUND
    window = np.rint(columns).astype(np.uint8)
    return cv2.resize(window, (width, MEL_HEIGHT), interpolation=cv2.INTER_LINEAR)


def _draw_wave(canvas: np.ndarray, track: SoundTrack, left: float) -> None:
    first, width = round(left * _PIXELS_PER_SECOND), canvas.shape[1]
    _fill(canvas, track.peaks[first : first + width])
    low = max(0, int(left * FPS) - 1)
    frames = np.arange(low, min(len(track.opening), low + width * FPS // _PIXELS_PER_SECOND + 3))
    _trace(canvas, ((frames + 0.5) / FPS - left) * _PIXELS_PER_SECOND, track.opening[frames])


def _fill(canvas: np.ndarray, peaks: np.ndarray) -> None:
    """A column from the lowest to the highest sample for each pair of peaks."""
    middle = canvas.shape[0] / 2
    rows = np.arange(canvas.shape[0])[:, None]
    top = np.floor(middle * (1 - peaks[:, 1]))
    bottom = np.ceil(middle * (1 - peaks[:, 0]))
    inside = (rows >= top) & (rows <= np.maximum(bottom, top))
    canvas[:, : len(peaks)][inside] = _WAVE_COLOUR


def _trace(canvas: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
    """A line through the values in [0, 1], broken where they are NaN."""
    import cv2

    height = canvas.shape[0]
    rows = (height - 4) - (height - 24) * values
    known = np.isfinite(values)
    for k in range(len(values) - 1):
        if known[k] and known[k + 1]:
            a, b = ((columns[i], rows[i]) for i in (k, k + 1))
            start, end = (np.rint(np.multiply(p, 16)).astype(int).tolist() for p in (a, b))
            cv2.line(canvas, start, end, OPENING_COLOUR, 1, cv2.LINE_AA, 4)


def _draw_seconds(canvas: np.ndarray, left: float, seconds: float) -> None:
    width = canvas.shape[1]
    for second in range(int(np.ceil(left)), int(left + width / _PIXELS_PER_SECOND) + 1):
        column = round((second - left) * _PIXELS_PER_SECOND)
        if second <= seconds and 0 <= column < width:
            canvas[MEL_HEIGHT:, column] = np.maximum(canvas[MEL_HEIGHT:, column], _GRID)
            if column < width - 30:
                _stamp(canvas, f"{second} s", column + 3, HEIGHT - 16)


def _stamp(canvas: np.ndarray, text: str, left: int, top: int) -> None:
    """Small grey text on the picture."""
    ink = text_image(text, size=11, colour=(205, 205, 205))
    height, width = ink.shape[:2]
    region = canvas[top : top + height, left : left + width]
    ink = ink[: region.shape[0], : region.shape[1]].astype(np.float32)
    opacity = ink[..., 3:] / 255
    region[:] = np.rint(region * (1 - opacity) + ink[..., :3] * opacity).astype(np.uint8)
