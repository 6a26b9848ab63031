"""Streams frames and sound into a video file, which appears only when it is complete."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, UInt8

from talkface_jax.errors import MediaError
from talkface_jax.records import AUDIO_RATE, FPS

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".m4v": "mp4"}
_CRF = "18"
# With x264's macroblock tree one file in fifteen differed by a byte from its twin.
_REPEATABLE = "mbtree=0"
_AUDIO_BITRATE = 128_000


class VideoWriter:
    """H.264 (yuv420p, crf 18) and AAC, written as they come: memory does not grow with length.

    Used as a context manager: leaving it normally puts the finished file in place; an exception (or
    no frame at all) removes what was written and leaves an older file of that name untouched.
    Frames of odd height or width gain one repeated row or column, for the chroma planes need even
    sizes.

    Args:
      path: output, `.mp4`, `.mov`, `.m4v` or `.mkv`.
      size: height and width of the frames.
      fps: constant frame rate.
      audio: mono samples in [-1, 1] as one array or an iterator of arrays, written along with the
        frames (never ahead of them) and cut at the last frame; None for `write_audio` or a silent
        file.
      audio_rate: samples a second.
      metadata: title, comment, provenance: any keys with text values.
      threads: of the video encoder; its bytes depend on their number, so fix it where files must
        be the same on machines with different numbers of cores. 0 for one per core.

    Raises:
      MediaError: an unknown suffix, a missing folder, or a write that fails (full disk).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        fps: int = FPS,
        audio: Float32[np.ndarray, " s"] | Iterable[np.ndarray] | None = None,
        audio_rate: int = AUDIO_RATE,
        metadata: Mapping[str, str] | None = None,
        threads: int = 0,
    ) -> None:
        self.path = pathlib.Path(path)
        if self.path.suffix.lower() not in _FORMATS:
            known = ", ".join(sorted(_FORMATS))
            raise MediaError(f"{self.path}: videos are written as {known}; change the suffix.")
        if not self.path.parent.is_dir():
            raise MediaError(f"{self.path.parent}: no such folder; make it before writing to it.")
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._size, self._fps, self._rate = size, fps, audio_rate
        self._threads = threads
        self._frames = self._samples = 0
        self._audio = _blocks(audio)
        self._waiting = np.zeros(0, np.float32)
        self._metadata = dict(metadata or {})
        self._container: Any = None
        self._video: Any = None
        self._sound: Any = None
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        else:
            self.close()

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append one RGB frame, and the sound that goes with it."""
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}, not uint8 {(*self._size, 3)}")
        self._write_frame(frame)
        self._frames += 1
        if self._audio is not None:
            self._feed(self._frames * self._rate // self._fps - self._samples)

    def write_audio(self, samples: Float32[np.ndarray, " s"]) -> None:
        """Append mono samples in [-1, 1]; the first call must come before the first frame."""
        if self._sound is None:
            if self._frames:
                raise ValueError(
                    "write_audio was first called after a frame: the file has no sound"
                )
            self._add_sound()
        self._encode_sound(np.asarray(samples, np.float32))

    def close(self) -> None:
        """Finish the file and put it in place."""
        if self._container is None:
            return
        if not self._frames:
            self.discard()
            raise MediaError(f"{self.path}: no frame was written, so no file was made.")
        try:
            for stream in (self._video, self._sound):
                if stream is not None:
                    self._container.mux(stream.encode(None))
            self._container.close()
            self._container = None
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(self._temporary, self.path)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Drop everything written; an older file of that name stays."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(OSError, ValueError):  # the trailer of what is thrown away
                container.close()
        self._temporary.unlink(missing_ok=True)

    def _open(self) -> None:
        import av

        options = {"movflags": "+faststart+use_metadata_tags"}
        kind = _FORMATS[self.path.suffix.lower()]
        try:
            self._container = av.open(
                str(self._temporary),
                "w",
                format=kind,
                options=options if kind != "matroska" else {},
            )
        except OSError as error:
            raise self._failed(error) from error
        self._container.metadata.update({k: str(v) for k, v in self._metadata.items()})
        stream = self._container.add_stream("libx264", rate=self._fps)
        stream.height, stream.width = (side + side % 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = self._threads
        stream.options = {"crf": _CRF, "preset": "medium", "x264-params": _REPEATABLE}
        self._video = stream
        if self._audio is not None:
            self._add_sound()

    def _add_sound(self) -> None:
        self._sound = self._container.add_stream("aac", rate=self._rate, layout="mono")
        self._sound.bit_rate = _AUDIO_BITRATE

    def _write_frame(self, frame: np.ndarray) -> None:
        import av

        odd = [(0, side % 2) for side in self._size]
        if any(after for _, after in odd):
            frame = np.pad(frame, [*odd, (0, 0)], mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self._frames
        self._mux(self._video, picture)

    def _feed(self, count: int) -> None:
        """Encode the next `count` samples of the given audio; silence after its end."""
        assert self._audio is not None
        parts, have = [self._waiting], len(self._waiting)
        while have < count:
            block = next(self._audio, None)
            if block is None:
                block = np.zeros(count - have, np.float32)
            parts.append(np.asarray(block, np.float32))
            have += len(block)
        joined = np.concatenate(parts)
        self._waiting = joined[count:]
        self._encode_sound(joined[:count])

    def _encode_sound(self, samples: np.ndarray) -> None:
        import av

        if not len(samples):
            return
        clipped = np.clip(samples, -1, 1)[None]
        sound = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(clipped), format="fltp", layout="mono"
        )
        sound.sample_rate = self._rate
        sound.pts = self._samples
        self._samples += len(samples)
        self._mux(self._sound, sound)

    def _mux(self, stream: Any, item: Any) -> None:
        try:
            self._container.mux(stream.encode(item))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> MediaError:
        self.discard()
        reason = getattr(error, "strerror", None) or str(error)
        return MediaError(
            f"{self.path} cannot be written ({reason}); free space or choose another folder."
        )


def _blocks(audio: np.ndarray | Iterable[np.ndarray] | None) -> Iterator[np.ndarray] | None:
    if audio is None:
        return None
    return iter([audio]) if isinstance(audio, np.ndarray) else iter(audio)
