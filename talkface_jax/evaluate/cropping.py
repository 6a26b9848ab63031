"""The part of a frame that is scored, of videos that show several pictures side by side.

What tools put side by side, by their code: official IP-LAP (Weizhi-Zhong/IP_LAP
inference_single.py) writes the sketch, resized to the frame, left of the frame, twice the width:
`right`. LivePortrait's `_concat` (src/utils/video.py) has driving video, source and result: `3/3`
(for a still source without driving frames two columns: `right`). MakeItTalk
(src/approaches/train_image_translation.py) has picture, result and landmarks of 256 pixels each:
`2/3`. AniPortrait (scripts/audio2vid.py) has picture, landmarks and result, with 2 pixels of black
around each: `3/3`, which keeps a few black pixels. Nothing is cropped unless it is asked for.
"""

import dataclasses
import fractions
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.media.video import IndexedVideo

COLUMNS = 16
"""At most so many columns."""
_HALF = fractions.Fraction(1, 2)
_HALVES = {
    "left": (0, 0, _HALF, 1),
    "right": (_HALF, 0, 1, 1),
    "top": (0, 0, 1, _HALF),
    "bottom": (0, _HALF, 1, 1),
}
_FORMS = (
    "left, right, top, bottom, K/N for the K-th of N columns, or x0,y0,x1,y1 in pixels or in "
    "shares of the frame (all from 0 to 1)"
)
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?|\.\d{1,6}")


@dataclasses.dataclass(frozen=True)
class Crop:
    """A rectangle of every frame.

    Attributes:
      text: as it was asked for.
      edges: left, top, right, bottom; right and bottom are not included.
      pixels: whether `edges` are pixels, else shares of width and height.
    """

    text: str
    edges: tuple[fractions.Fraction, ...]
    pixels: bool = False

    def box(self, size: tuple[int, int], *, name: str = "the video") -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of a frame of `size` (height, width).

        Edges between two pixels are rounded, the same for both neighbours: columns side by side
        neither overlap nor leave a gap.

        Raises:
          MediaError: outside the frame, or nothing is left of it.
        """
        height, width = size
        scale = (1, 1, 1, 1) if self.pixels else (width, height, width, height)
        x0, y0, x1, y1 = (_round(edge * side) for edge, side in zip(self.edges, scale, strict=True))
        if x1 > width or y1 > height:
            raise MediaError(
                f"{name} has frames of {width}x{height} pixels, and --crop={self.text} reaches "
                f"outside; give edges of at most {width},{height}"
            )
        if x1 <= x0 or y1 <= y0:
            raise MediaError(
                f"{name} has frames of {width}x{height} pixels, of which --crop={self.text} leaves "
                "nothing; give a larger part"
            )
        return x0, y0, x1, y1

    def apply(
        self, frame: UInt8[np.ndarray, "h w 3"], *, name: str = "the video"
    ) -> UInt8[np.ndarray, "a b 3"]:
        """The part of the frame, as a view; errors as `box`."""
        x0, y0, x1, y1 = self.box((frame.shape[0], frame.shape[1]), name=name)
        return frame[y0:y1, x0:x1]


def _round(value: fractions.Fraction) -> int:
    return int(value + _HALF)


def parse_crop(text: str) -> Crop:
    """What --crop says.

    Args:
      text: left, right, top, bottom; K/N, the K-th of N equal columns, from the left; or
        x0,y0,x1,y1: whole pixels, or shares of the frame where no number is above 1.

    Raises:
      TalkfaceError: none of these.
    """
    given = text.strip().lower()
    if given in _HALVES:
        return Crop(given, tuple(fractions.Fraction(edge) for edge in _HALVES[given]))
    columns = re.fullmatch(r"(\d{1,3})/(\d{1,3})", given)
    if columns:
        k, n = int(columns[1]), int(columns[2])
        if not (1 <= k <= n <= COLUMNS and n > 1):
            raise TalkfaceError(
                f"--crop={text} is no column; give K/N with K from 1 to N and N from 2 to {COLUMNS}"
            )
        edges = (fractions.Fraction(k - 1, n), 0, fractions.Fraction(k, n), 1)
        return Crop(given, tuple(fractions.Fraction(edge) for edge in edges))
    return Crop(given, *_rectangle(text, [part.strip() for part in given.split(",")]))


def _rectangle(text: str, parts: Sequence[str]) -> tuple[tuple[fractions.Fraction, ...], bool]:
    """Edges, and whether they are pixels."""
    if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise TalkfaceError(f"--crop={text} is no part of a frame; give {_FORMS}")
    edges = tuple(fractions.Fraction(part) for part in parts)
    pixels = max(edges) > 1
    if pixels and any(edge.denominator > 1 for edge in edges):
        raise TalkfaceError(
            f"--crop={text} mixes pixels and shares; give four whole numbers, or four from 0 to 1"
        )
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise TalkfaceError(f"--crop={text} is empty; give x0,y0,x1,y1 with x0 < x1 and y0 < y1")
    return edges, pixels


class CroppedVideo(IndexedVideo):
    """A video of which only a part of each frame is seen; everything else is the video's.

    Args:
      video: an open one; closed with this one.
      crop: which part.

    Raises:
      MediaError: the part is not inside the frame; names the video.
    """

    def __init__(self, video: IndexedVideo, crop: Crop) -> None:
        x0, y0, x1, y1 = crop.box(video.size, name=video.info.path)
        self.info = dataclasses.replace(video.info, width=x1 - x0, height=y1 - y0)
        self.size = (y1 - y0, x1 - x0)
        self.fps = video.fps
        self._video, self._crop = video, crop
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._video)

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        frame = self._video[i]
        # A repeated frame stays one object, for the tracker looks at it once.
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._crop.apply(frame, name=self.info.path))
        return self._last[1]

    def close(self) -> None:
        """Close the video."""
        self._last = None
        self._video.close()
