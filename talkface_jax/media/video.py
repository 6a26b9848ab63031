"""Video files as indexable arrays of RGB frames on the 25 fps clock, and still images likewise.

A frame k shows the source frame whose presentation time is nearest to k / 25 s after the first one,
so constant and variable rates are treated alike. Frames are decoded in chunks and at most two
chunks are
kept: memory is bounded whatever the length, and reading backwards costs one seek a chunk.
"""

import collections
import logging
import operator
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import UInt8

from talkface_jax.errors import MediaError
from talkface_jax.media import probe as probing
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import FPS

__all__ = ["IndexedVideo", "VideoWriter", "open_video", "open_visual"]

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 96 << 20
_CHUNK_FRAMES = (4, 48)
_CHUNKS_KEPT = 2


class IndexedVideo:
    """A video at a constant rate: `len(video)`, `video[i] -> (h, w, 3) uint8 RGB`, iteration.

    Frames are read-only arrays. Output frames that show the same source frame are the same object
    within a chunk, which lets a tracker skip repeats. Use it as a context manager, or call `close`.

    Attributes:
      info: what `media.probe` says of the file.
      size: height and width of the frames.
      fps: the constant rate.
    """

    def __init__(
        self, index: probing.FrameIndex, *, fps: float = FPS, threads: int | None = None
    ) -> None:
        self.info = index.info
        self.size = (index.info.height, index.info.width)
        self.fps = fps
        self._index = index
        self._source = _nearest_frames(index.seconds, index.info.duration, fps)
        low, high = _CHUNK_FRAMES
        self._chunk = int(np.clip(_CHUNK_BYTES // (3 * self.size[0] * self.size[1]), low, high))
        self._cache: collections.OrderedDict[int, dict[int, np.ndarray]] = collections.OrderedDict()
        self._decoder = _Decoder(index, threads)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        i = operator.index(i)
        i += len(self) if i < 0 else 0
        if not 0 <= i < len(self):
            raise IndexError(f"frame {i} of a video of {len(self)} frames")
        chunk = self._load(i // self._chunk)
        return chunk[int(self._index.pts[self._source[i]])]

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        return (self[i] for i in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and drop the cached frames."""
        self._decoder.close()
        self._cache.clear()

    def _load(self, number: int) -> dict[int, np.ndarray]:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        rows = self._source[number * self._chunk : (number + 1) * self._chunk]
        wanted = [int(pts) for pts in np.unique(self._index.pts[rows])]
        known = {p: c[p] for c in self._cache.values() for p in wanted if p in c}
        missing = [p for p in wanted if p not in known]
        while len(self._cache) >= _CHUNKS_KEPT:
            self._cache.popitem(last=False)
        self._cache[number] = known | (self._decoder.read(missing) if missing else {})
        return self._cache[number]


class StillVideo(IndexedVideo):
    """One image as a video of one frame."""

    def __init__(self, image: UInt8[np.ndarray, "h w 3"], *, path: str, fps: float = FPS) -> None:
        height, width = image.shape[:2]
        self.info = probing.MediaInfo(path, width, height, fps, 1 / fps, False, 0, 0.0, 1, 0.0)
        self.size = (height, width)
        self.fps = fps
        self._image = image

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        if operator.index(i) not in (0, -1):
            raise IndexError(f"frame {i} of a still image")
        return self._image

    def close(self) -> None:
        """Nothing is open."""


def open_video(
    path: probing.PathLike, *, fps: float = FPS, threads: int | None = None
) -> IndexedVideo:
    """A video file on a constant clock; see `IndexedVideo`.

    Args:
      path: of the file.
      fps: of the clock.
      threads: that decode; None for as many as the machine has cores.

    Raises:
      MediaError: no such file, a text file, a truncated or damaged file, or no video in it.
    """
    return IndexedVideo(probing.scan(path), fps=fps, threads=threads)


def open_visual(path: probing.PathLike, *, fps: float = FPS) -> IndexedVideo:
    """A video, or a still image (PNG, JPEG, WebP, ...) as a video of one frame.

    Raises:
      MediaError: the file is neither.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = os.fspath(path)
    if not os.path.isfile(name):
        return open_video(path, fps=fps)  # raises the error that fits
    try:
        with Image.open(name) as image:
            if getattr(image, "is_animated", False):
                return open_video(path, fps=fps)
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        return open_video(path, fps=fps)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{name}: the image cannot be decoded ({error}); save it again as PNG."
        ) from error
    array = np.asarray(upright)
    array.setflags(write=False)
    return StillVideo(array, path=name, fps=fps)


def _nearest_frames(seconds: np.ndarray, duration: float, fps: float) -> np.ndarray:
    """Source frame nearest to each tick k / fps after the first one; ties show the earlier."""
    ticks = seconds[0] + np.arange(max(1, round(duration * fps))) / fps
    later = np.clip(np.searchsorted(seconds, ticks), 1, max(1, len(seconds) - 1))
    if len(seconds) == 1:
        return np.zeros(len(ticks), np.int64)
    # The tolerance keeps ties stable against the rounding of k / fps.
    return np.where(ticks - seconds[later - 1] <= seconds[later] - ticks + 1e-6, later - 1, later)


class _Decoder:
    """Decodes named frames of one file; goes on from where it is unless a keyframe is nearer."""

    def __init__(self, index: probing.FrameIndex, threads: int | None) -> None:
        self._threads = threads
        self._index = index
        self._open: Any = None
        self._container: Any = None
        self._stream: Any = None
        self._frames: Iterator[tuple[int, Any]] = iter(())
        self._position: int | None = None

    def read(self, wanted: list[int]) -> dict[int, np.ndarray]:
        """The frames with these presentation times (ascending), as read-only RGB arrays."""
        if self._container is None:
            self._open = probing.open_container(self._index.info.path)
            self._container = self._open.__enter__()
            self._stream = probing.video_stream(self._container, self._index.info.path)
            if self._threads is None:
                self._stream.thread_type = "AUTO"
            else:
                self._stream.codec_context.thread_count = self._threads
        keys = self._index.keyframes
        key = int(np.searchsorted(keys, wanted[0], side="right")) - 1
        ahead = self._position is not None and self._position < wanted[0]
        if not (ahead and (key < 0 or keys[key] <= (self._position or 0))):
            self._seek(key, wanted[0])
        needed, found = set(wanted), {}
        nearest: np.ndarray | None = None
        for pts, frame in self._frames:
            self._position = pts
            if pts in needed:
                nearest = found[pts] = self._to_array(frame)
            if pts >= wanted[-1]:
                break
        lost = needed - found.keys()
        if lost:
            if nearest is None:
                raise MediaError(
                    f"{self._index.info.path}: {len(lost)} frames from "
                    f"{self._second(wanted[0]):.2f} s on cannot be decoded; "
                    "convert the file with `ffmpeg -i IN OUT.mp4`."
                )
            _LOG.warning(
                "%s: %d damaged frames near %.2f s repeat their neighbour",
                self._index.info.path,
                len(lost),
                self._second(min(lost)),
            )
            for pts in lost:
                found[pts] = found[min(found.keys() - lost, key=lambda p, q=pts: abs(p - q))]
        return found

    def close(self) -> None:
        if self._container is not None:
            self._open.__exit__(None, None, None)
            self._container = None

    def _second(self, pts: int) -> float:
        return float(pts * self._stream.time_base)

    def _seek(self, key: int, target: int) -> None:
        """Go to the keyframe `key`, or to an earlier one where the container overshoots."""
        while True:
            place = int(self._index.keyframes[max(key, 0)])
            self._container.seek(place, stream=self._stream, backward=True)
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None or first[0] <= target or key <= 0:
                break
            key -= 1
        if first is not None:
            self._position = None
            self._frames = _prepend(first, self._frames)

    def _decode(self) -> Iterator[tuple[int, Any]]:
        import av.error

        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                pts = probing.stamp(frame)
                if pts is not None:
                    yield pts, frame

    def _to_array(self, frame: Any) -> np.ndarray:
        array = frame.to_ndarray(format="rgb24")
        if self._index.rotation:
            array = np.ascontiguousarray(np.rot90(array, self._index.rotation // 90))
        array.setflags(write=False)
        return array


def _prepend(first: tuple[int, Any], rest: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    yield first
    yield from rest
