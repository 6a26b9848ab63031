"""Marks on generated frames, and the provenance record of a generated file.

The visible mark is a small label. The invisible one is a spread-spectrum pattern in luma: a fixed
pseudo-random field, smooth at pixel scale, of about one level; `detect_mark` correlates decoded
frames with it. It survives H.264 at ordinary quality and uniform scaling, not cropping.
"""

import dataclasses
import enum
import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from talkface_jax.errors import MediaError

LABEL = "AI-generated"
DETECTION_THRESHOLD = 6.0
"""Scores above it mean marked; unmarked footage scores like a standard normal variable."""

_SEED = 0x7A1CF4CE
_CELLS = 64
_DETECTOR_SIDE = 256
_STRENGTH = 1.3
_TEXTURE = 6.0
_MASKING = 2.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Mark(enum.Enum):
    """How generated frames are marked."""

    VISIBLE = "visible"
    INVISIBLE = "invisible"
    BOTH = "both"


def apply_mark(frame: UInt8[np.ndarray, "h w 3"], *, mark: Mark) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with the mark that was asked for; the input is left as it is."""
    if mark is not Mark.VISIBLE:
        frame = invisible_mark(frame)
    if mark is not Mark.INVISIBLE:
        frame = visible_mark(frame)
    return frame


def visible_mark(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Writes "AI-generated" into the lower left corner, a thirtieth of the shorter side high."""
    opacity, ink, top, left = _label(frame.shape[0], frame.shape[1])
    height, width = opacity.shape
    result = frame.copy()
    region = result[top : top + height, left : left + width]
    blended = region + opacity[..., None] * (ink[..., None] - region.astype(np.float32))
    region[:] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return result


def invisible_mark(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Adds the spread-spectrum pattern to the luma of a frame."""
    pattern = _STRENGTH * _pattern(frame.shape[0], frame.shape[1])
    luma = frame.astype(np.float32) @ _LUMA
    # Texture hides more of it, and needs more of it to be told apart.
    sigma = min(luma.shape) / _CELLS
    detail = luma - cv2.GaussianBlur(luma, (0, 0), sigma)
    texture = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), sigma))
    pattern *= np.clip(texture / _TEXTURE, 1.0, _MASKING)
    marked = frame.astype(np.float32) + pattern[..., None]
    return np.clip(np.rint(marked), 0, 255).astype(np.uint8)


def mark_score(frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> float:
    """Detection score of the invisible mark: correlation in units of its deviation under no mark.

    Frames are averaged after high-pass filtering, so the score grows with their number as the
    picture moves. Above `DETECTION_THRESHOLD`: marked. 0 for no frames.
    """
    total, count = None, 0
    for frame in frames:
        residual = _residual(frame)
        total = residual if total is None else total + residual
        count += 1
    if total is None:
        return 0.0
    pattern = _highpass(_pattern(*total.shape))
    # Edges would dominate a plain correlation; the mark is everywhere and weak.
    mean = total / count
    level = np.sqrt(cv2.GaussianBlur(mean**2, (0, 0), 2.0 * _DETECTOR_SIDE / _CELLS)) + 0.5
    scores = _cell_sums(np.clip(mean / level, -2.0, 2.0) * pattern)
    deviation = float(scores.std())
    if deviation == 0.0:
        return 0.0
    return float(scores.mean()) / deviation * math.sqrt(scores.size)


def detect_mark(path: pathlib.Path, *, frames: int = 48) -> float:
    """`mark_score` of up to `frames` frames spread evenly over a video file.

    Raises:
      MediaError: the file is not a readable video.
    """
    from talkface_jax.media import video

    with video.open_visual(path) as source:
        indices = np.unique(np.linspace(0, len(source) - 1, frames).round().astype(int))
        return mark_score(source[int(index)] for index in indices)


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a generated file came from; written into its metadata as JSON."""

    method: str
    weight_id: str
    mark: str
    software: str
    inputs: Mapping[str, str]
    """Role ("face", "audio") -> "file name sha256:<digest>"."""


def provenance(
    *, method: str, weight_id: str, mark: Mark, software: str, inputs: Mapping[str, pathlib.Path]
) -> dict[str, str]:
    """Metadata tags for the container: a readable title and description, and JSON in `comment`."""
    record = Provenance(
        method=method,
        weight_id=weight_id,
        mark=mark.value,
        software=software,
        inputs={role: f"{path.name} sha256:{file_digest(path)}" for role, path in inputs.items()},
    )
    values = {"generated": LABEL, **dataclasses.asdict(record)}
    return {
        "title": f"{LABEL} talking face",
        "description": f"{LABEL} by {software}, method {method}, weights {weight_id}",
        "comment": json.dumps(values, sort_keys=True),
    }


def read_provenance(path: pathlib.Path) -> Provenance | None:
    """What a video's metadata says of its origin; None where `provenance` did not write it.

    Raises:
      MediaError: the file is not a readable video.
    """
    import av
    import av.error

    try:
        with av.open(str(path)) as container:
            text = container.metadata.get("comment", "")
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be read as a video ({error.strerror}); give another"
        ) from error
    try:
        values = json.loads(text)
        fields = [field.name for field in dataclasses.fields(Provenance)]
        return Provenance(**{name: values[name] for name in fields})
    except (ValueError, KeyError, TypeError):
        return None


def file_digest(path: pathlib.Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(maxsize=4)
def _label(height: int, width: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Opacity and grey level of the label, and its top left corner."""
    font, base = cv2.FONT_HERSHEY_SIMPLEX, 22.0
    letters = max(8.0, min(height, width) / 32.0)
    (text_width, _), _ = cv2.getTextSize(LABEL, font, letters / base, 1)
    letters *= min(1.0, 0.9 * width / max(1, text_width))
    scale, thick = letters / base, max(1, round(letters / 14))
    (text_width, text_height), baseline = cv2.getTextSize(LABEL, font, scale, thick)
    pad = max(2, round(0.35 * letters))
    shape = (min(height, text_height + baseline + 2 * pad), min(width, text_width + 2 * pad))
    origin = (pad, pad + text_height)
    ink = np.zeros(shape, np.uint8)
    cv2.putText(ink, LABEL, origin, font, scale, 255, thick, cv2.LINE_AA)
    letter = ink.astype(np.float32) / 255.0
    opacity = 0.45 + 0.45 * letter
    margin = max(2, round(0.02 * min(height, width)))
    top = max(0, height - shape[0] - margin)
    left = max(0, min(margin, width - shape[1]))
    return opacity, 255.0 * letter, top, left


@functools.lru_cache(maxsize=4)
def _pattern(height: int, width: int) -> Float32[np.ndarray, "h w"]:
    """The field, zero mean and unit deviation; its cells scale with the frame's shorter side."""
    short = min(height, width)
    cells: Sequence[int] = [max(1, round(_CELLS * side / short)) for side in (height, width)]
    # Raw bits: distributions may change between NumPy versions, the bit stream may not.
    bits = np.random.Philox(_SEED).random_raw((4 * _CELLS) ** 2) & np.uint64(1)
    signs = 2.0 * bits.reshape(4 * _CELLS, 4 * _CELLS).astype(np.float32) - 1.0
    field = np.ascontiguousarray(signs[: cells[0], : cells[1]])
    smooth = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth -= smooth.mean()
    return smooth / smooth.std()


def _highpass(luma: np.ndarray) -> np.ndarray:
    return luma - cv2.GaussianBlur(luma, (0, 0), 0.75 * _DETECTOR_SIDE / _CELLS)


def _residual(frame: np.ndarray) -> np.ndarray:
    luma = frame.astype(np.float32) @ _LUMA
    scale = _DETECTOR_SIDE / min(luma.shape)
    size = (max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return _highpass(cv2.resize(luma, size, interpolation=way))


def _cell_sums(product: np.ndarray) -> np.ndarray:
    """Sums over blocks of 4x4 cells: nearly independent samples of the correlation."""
    block = 4 * _DETECTOR_SIDE // _CELLS
    rows, columns = (side // block for side in product.shape)
    cut = product[: rows * block, : columns * block]
    return cut.reshape(rows, block, columns, block).sum(axis=(1, 3))
