"""What a media file holds: streams, clock, and whether it is complete. Nothing but packets is read.

Every reader goes through `scan`, so that a bad file meets one set of errors. Container clocks are
in seconds; the index keeps the presentation time of each video frame, from which `media.video`
resamples.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64

from talkface_jax.errors import MediaError

if TYPE_CHECKING:
    import av.container
    import av.video.frame

PathLike = str | os.PathLike[str]
# A file whose packets end this long before its stated duration (and by 2 %) has lost its tail.
_MISSING_SECONDS = 0.5
_MISSING_SHARE = 0.02


@dataclasses.dataclass(frozen=True)
class MediaInfo:
    """What a video file holds.

    Attributes:
      path: the file.
      width, height: pixels as displayed (after the rotation that phones write).
      fps: mean frame rate of the file (frames over duration; variable rates have no other).
      duration: seconds from the first frame to the end of the last.
      has_audio: whether an audio stream exists.
      audio_rate: samples a second of that stream; 0 without one.
      audio_offset: seconds from the first video frame to the first audio sample; positive: late
        audio.
      frames: number of presented frames.
      video_start: time of the first frame after the start of the container's clock, in seconds.
    """

    path: str
    width: int
    height: int
    fps: float
    duration: float
    has_audio: bool
    audio_rate: int
    audio_offset: float
    frames: int
    video_start: float


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """Presentation time stamps of a video's frames in order, and which of them are keyframes."""

    info: MediaInfo
    pts: Int64[np.ndarray, " n"]
    seconds: Float64[np.ndarray, " n"]
    keyframes: Int64[np.ndarray, " k"]
    rotation: int


def probe(path: PathLike) -> MediaInfo:
    """Size, rates, duration and audio offset of a video file.

    Raises:
      MediaError: no such file, a text file, a truncated or damaged file, or no video in it.
    """
    return scan(path).info


@contextlib.contextmanager
def open_container(path: PathLike) -> Iterator["av.container.InputContainer"]:
    """The file opened for reading by PyAV; its I/O errors come out as `MediaError`."""
    import av
    import av.error

    name = os.fspath(path)
    if not os.path.exists(name):
        raise MediaError(f"{name}: no such file; check the path.")
    if os.path.isdir(name):
        raise MediaError(f"{name} is a folder, not a media file; name one file in it.")
    if os.path.getsize(name) == 0:
        raise MediaError(f"{name} is empty (0 bytes); copy or download it again.")
    try:
        container = av.open(name)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_unreadable(pathlib.Path(name), error)) from error
    with container:
        yield container


def video_stream(container: "av.container.InputContainer", path: PathLike) -> Any:
    """The first video stream that is not cover art.

    Raises:
      MediaError: there is none.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError(f"{os.fspath(path)} has no video stream; give a video file.")


def scan(path: PathLike) -> FrameIndex:
    """Read every packet (no decoding but the first frame) and index the video's frames.

    Raises:
      MediaError: as `probe`.
    """
    with open_container(path) as container:
        stream = video_stream(container, path)
        packets = _read_packets(container, stream)
        _check_complete(container, stream, packets, path)
        if packets.stamped:
            pts, keyframes = packets.pts, packets.keyframes
        else:
            pts, keyframes = _decode_stamps(container, stream)
        first = _first_frame(container, stream, path)
        pts = sorted(set(pts))
        if not pts:
            raise MediaError(f"{os.fspath(path)} holds no video frame; record or convert it again.")
        tick = float(stream.time_base)
        seconds = np.asarray(pts, np.float64) * tick
        if not packets.stamped:  # decoding times run behind by the reordering delay
            seconds += (packets.first or 0) * tick - seconds[0]
        info = _info(container, stream, path, first, seconds)
        return FrameIndex(
            info=info,
            pts=np.asarray(pts, np.int64),
            seconds=seconds,
            keyframes=np.asarray(sorted(set(keyframes)) or pts[:1], np.int64),
            rotation=first.rotation,
        )


@dataclasses.dataclass
class _Packets:
    pts: list[int]
    keyframes: list[int]
    stamped: bool
    count: int
    corrupt: int
    end: float
    first: int | None


def stamp(item: Any) -> int | None:
    """Presentation time of a packet or frame, or its decoding time where there is no other."""
    return item.dts if item.pts is None else item.pts


def _read_packets(container: Any, stream: Any) -> _Packets:
    """Demux the whole file; an I/O error in the middle counts as a corrupt packet."""
    import av.error

    found = _Packets([], [], True, 0, 0, 0.0, None)
    start = (container.start_time or 0) / 1e6
    media = [s for s in container.streams if s.type in ("video", "audio")]
    try:
        for packet in container.demux(media):
            if packet.size == 0 and packet.dts is None:  # the demuxer's farewell
                continue
            found.corrupt += packet.is_corrupt
            time = stamp(packet)
            if time is not None and packet.time_base is not None:
                end = float((time + (packet.duration or 0)) * packet.time_base) - start
                found.end = max(found.end, end)
            if packet.stream_index != stream.index:
                continue
            found.count += 1
            if found.first is None:
                found.first = time
            if packet.is_discard or packet.size == 0:
                continue
            found.stamped &= packet.pts is not None
            if packet.pts is not None:
                found.pts.append(packet.pts)
                if packet.is_keyframe:
                    found.keyframes.append(packet.pts)
    except av.error.FFmpegError:
        found.corrupt += 1
    return found


def _check_complete(container: Any, stream: Any, packets: _Packets, path: PathLike) -> None:
    stated = (container.duration or 0) / 1e6
    missing = stated - packets.end
    short = missing > max(_MISSING_SECONDS, _MISSING_SHARE * stated)
    # Only mp4's table counts what is there; AVI's header also counts frames left out.
    lost = "mp4" in container.format.name and packets.count < stream.frames
    if lost or short or (packets.corrupt and missing > 0.1):
        raise MediaError(
            f"{os.fspath(path)} is truncated or damaged: {packets.end:.1f} s of the "
            f"{stated:.1f} s that its header states can be read; copy or download it again."
        )


def _decode_stamps(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Index by decoding everything, for containers without presentation times."""
    container.seek(0)
    frames = [(stamp(f), f.key_frame) for f in container.decode(stream)]
    return [s for s, _ in frames if s is not None], [s for s, k in frames if k and s is not None]


def _first_frame(container: Any, stream: Any, path: PathLike) -> "av.video.frame.VideoFrame":
    import av.error

    try:
        container.seek(0)
        for frame in container.decode(stream):
            return frame
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{os.fspath(path)}: the first video frame cannot be decoded ({error.strerror}); "
            "convert the file with `ffmpeg -i IN OUT.mp4`."
        ) from error
    raise MediaError(f"{os.fspath(path)} holds no video frame; record or convert it again.")


def _info(
    container: Any, stream: Any, path: PathLike, first: Any, seconds: np.ndarray
) -> MediaInfo:
    steps = np.diff(seconds)
    last = float(np.median(steps)) if len(steps) else 1.0 / float(stream.average_rate or 25)
    duration = float(seconds[-1] - seconds[0]) + last
    sound = container.streams.audio[0] if container.streams.audio else None
    offset = 0.0
    if sound is not None and sound.start_time is not None:
        offset = float(sound.start_time * sound.time_base) - float(seconds[0])
    sideways = first.rotation % 180 != 0
    height, width = (first.width, first.height) if sideways else (first.height, first.width)
    return MediaInfo(
        path=os.fspath(path),
        width=width,
        height=height,
        fps=len(seconds) / duration,
        duration=duration,
        has_audio=sound is not None,
        audio_rate=sound.rate if sound is not None else 0,
        audio_offset=offset,
        frames=len(seconds),
        video_start=float(seconds[0]) - (container.start_time or 0) / 1e6,
    )


def _why_unreadable(path: pathlib.Path, error: Exception) -> str:
    """One sentence on why FFmpeg refused a file, from the file's first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as problem:
        return f"{path} cannot be read ({problem.strerror}); check its permissions."
    if head[4:8] == b"ftyp":
        return f"{path} is a truncated mp4 (its index is missing); copy or download it again."
    if b"\0" not in head:
        with contextlib.suppress(UnicodeDecodeError):
            head[:-4].decode("utf-8")
            return f"{path} is a text file, not a video, image or audio file; give a media file."
    detail = getattr(error, "strerror", None) or str(error)
    return (
        f"{path} is damaged or no media file ({detail}); check that it plays, or convert it with "
        "`ffmpeg -i IN OUT.mp4`."
    )
