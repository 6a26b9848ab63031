"""Text and bars beside a previewed face, in a font that knows more than Latin letters."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.data.preview_face import (
    AXIS_COLOURS,
    BLENDSHAPE,
    BOX_COLOUR,
    COLOURS,
    GAZE_COLOUR,
    Colour,
    gaze_angles,
    head_angles,
)
from talkface_jax.records import EMOTIONS, FPS, ClipInfo, Segment

BACKGROUND: Colour = (28, 31, 38)
_INK: Colour = (235, 235, 235)
_FAINT: Colour = (160, 166, 176)
_GOOD: Colour = (110, 220, 130)
_BAD: Colour = (255, 90, 90)
_BAR, _TROUGH = (90, 190, 255), (58, 63, 74)
_MARGIN = 12
_BARS = (
    ("blink, left eye", ("eyeBlinkLeft",)),
    ("blink, right eye", ("eyeBlinkRight",)),
    ("jaw open", ("jawOpen",)),
    ("pucker", ("mouthPucker",)),
    ("smile", ("mouthSmileLeft", "mouthSmileRight")),
    ("brows up", ("browInnerUp",)),
)


@functools.cache
def font(size: int, *, bold: bool = False) -> Any:
    """DejaVu Sans, as matplotlib ships it."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(str(path), size)


@functools.lru_cache(maxsize=256)
def text_image(text: str, *, size: int, colour: Colour) -> UInt8[np.ndarray, "h w 4"]:
    """The text alone, with its opacity as the fourth channel."""
    from PIL import Image, ImageDraw

    _, _, width, height = font(size).getbbox(text)
    image = Image.new("RGBA", (int(width) + 1, int(height) + 1), (*colour, 0))
    ImageDraw.Draw(image).text((0, 0), text, fill=(*colour, 255), font=font(size))
    return np.asarray(image)


def wrap(text: str, *, size: int, width: int, lines: int, bold: bool = False) -> list[str]:
    """The text in at most `lines` lines of `width` pixels; what is left out becomes an ellipsis.

    Lines break at blanks, and within a word that is longer than a line.
    """
    pen = font(size, bold=bold)
    result: list[str] = []
    line = ""
    for word in " ".join(text.split()).split(" "):
        candidate = f"{line} {word}" if line else word
        if pen.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            result.append(line)
        while pen.getlength(word) > width:
            cut = next(n for n in range(len(word), 0, -1) if n == 1 or _fits(pen, word[:n], width))
            result.append(word[:cut])
            word = word[cut:]
            if not word:
                break
        line = word
    result.append(line)
    if len(result) > lines:
        result = result[:lines]
        while result[-1] and not _fits(pen, result[-1] + "…", width):
            result[-1] = result[-1][:-1]
        result[-1] += "…"
    return [line for line in result if line]


def _fits(pen: Any, text: str, width: int) -> bool:
    return pen.getlength(text) <= width


def heading(info: ClipInfo) -> str:
    """What is known of a clip, in one line."""
    parts = [f"{info.dataset}, {info.split}", f"speaker {info.speaker}"]
    if 0 <= info.emotion < len(EMOTIONS):
        level = f" {info.level}" if info.level > 0 else ""
        parts.append(f"{EMOTIONS[info.emotion]}{level}")
    parts.append(f"view {info.view}")
    return "  ·  ".join(parts)


@dataclasses.dataclass(frozen=True)
class Panel:
    """The text beside the face: `ground` is what stays, `top` where what changes begins."""

    ground: UInt8[np.ndarray, "h w 3"]
    top: int
    frames: int


def make_panel(segment: Segment, *, frames: int, size: tuple[int, int]) -> Panel:
    """The part that is the same for all frames of a clip.

    Args:
      segment: any of the clip.
      frames: of the clip, in all that is shown.
      size: height and width.
    """
    from PIL import Image, ImageDraw

    height, width = size
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw, inner, y = ImageDraw.Draw(image), width - 2 * _MARGIN, _MARGIN
    info = segment.info
    facts = f"raw: {segment.source_fps:.4g} frames/s, {segment.source_rate} samples/s"
    blocks = [
        (info.clip, 16, True, _INK, 3),
        (heading(info), 12, False, _FAINT, 2),
        (facts, 12, False, _FAINT, 1),
        (f"“{info.text}”" if info.text else "(no text)", 13, False, _INK, 4),
    ]
    for text, points, bold, colour, lines in blocks:
        for line in wrap(text, size=points, width=inner, lines=lines, bold=bold):
            draw.text((_MARGIN, y), line, fill=colour, font=font(points, bold=bold))
            y += round(points * 1.35)
        y += 6
    _draw_legend(draw, height - 74, inner)
    return Panel(np.asarray(image), y + 4, frames)


def _draw_legend(draw: Any, top: int, width: int) -> None:
    entries = [*COLOURS.items(), ("crop of the views", BOX_COLOUR), ("gaze", GAZE_COLOUR)]
    entries += list(zip(("head's left", "up", "out"), AXIS_COLOURS, strict=True))
    x, y = 0.0, top
    for name, colour in entries:
        length = font(11).getlength(name) + 12
        if x + length > width:
            x, y = 0.0, y + 16
        draw.text((_MARGIN + x, y), name, fill=colour, font=font(11))
        x += length


def draw_panel(panel: Panel, segment: Segment, t: int, *, shown: int) -> UInt8[np.ndarray, "h w 3"]:
    """The panel of one frame.

    Args:
      panel: of `make_panel`.
      segment: that holds the frame.
      t: frame of the segment.
      shown: how many frames of the clip came before it.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(panel.ground.copy())
    draw, y = ImageDraw.Draw(image), panel.top
    place = segment.start + t
    line = f"frame {place}  ·  {place / FPS:.2f} s  ·  {shown + 1} of {panel.frames}"
    draw.text((_MARGIN, y), line, fill=_INK, font=font(13))
    y += 20
    valid = bool(segment.valid[t])
    state, colour = ("face found", _GOOD) if valid else ("no face: marked invalid", _BAD)
    draw.text((_MARGIN, y), state, fill=colour, font=font(13, bold=True))
    y += 22
    if valid:
        for line in _angle_lines(segment, t):
            draw.text((_MARGIN, y), line, fill=_FAINT, font=font(12))
            y += 17
        _draw_bars(draw, segment.blendshapes[t], y + 6, panel.ground.shape[1])
    return np.asarray(image)


def _angle_lines(segment: Segment, t: int) -> list[str]:
    head = head_angles(segment.head[t])
    eyes = [gaze_angles(segment.blendshapes[t], side) for side in ("Left", "Right")]
    yaw, pitch = (sum(getattr(eye, name) for eye in eyes) / 2 for name in ("yaw", "pitch"))
    return [
        f"head  yaw {head.yaw:+.0f}°  pitch {head.pitch:+.0f}°  roll {head.roll:+.0f}°",
        f"eyes  yaw {yaw:+.0f}°  pitch {pitch:+.0f}°  (in the head)",
    ]


def _draw_bars(draw: Any, scores: Float[np.ndarray, " 52"], top: int, width: int) -> None:
    left, right = _MARGIN + 112, width - _MARGIN
    for k, (label, names) in enumerate(_BARS):
        y = top + 19 * k
        value = float(np.mean([scores[BLENDSHAPE[name]] for name in names]))
        draw.text((_MARGIN, y - 2), label, fill=_FAINT, font=font(12))
        draw.rectangle((left, y, right, y + 11), fill=_TROUGH)
        end = left + (right - left) * min(max(value, 0.0), 1.0)
        if end >= left + 1:
            draw.rectangle((left, y, end, y + 11), fill=_BAR)
