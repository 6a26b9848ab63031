"""Sound as mono float32 on the clip's clock: 16 kHz, sample 0 when frame 0 is shown."""

import os
import pathlib
import wave
from typing import Any

import numpy as np
from jaxtyping import Float32

from talkface_jax.errors import MediaError
from talkface_jax.media import probe as probing
from talkface_jax.records import AUDIO_RATE, SAMPLES_PER_FRAME

# Time stamps that disagree with the running count by more than this are a gap, not jitter.
_GAP_SECONDS = 0.05


def read_audio(
    path: probing.PathLike, *, rate: int = AUDIO_RATE, start: float = 0.0
) -> Float32[np.ndarray, " s"]:
    """The first audio stream of a file, mixed to mono and resampled.

    Args:
      path: any audio or video file.
      rate: samples a second of the result.
      start: second of the container's clock at which sample 0 lies. Sound that begins later is
        preceded by zeros, sound before it is cut, and gaps between time stamps are silent.

    Returns:
      Samples in [-1, 1].

    Raises:
      MediaError: no audio stream, an empty one, one that ends before `start`, or an unreadable
        file.
    """
    name = os.fspath(path)
    with probing.open_container(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{name} has no audio track; give a file with sound.")
        zero = (container.start_time or 0) / 1e6 + start
        canvas = _decode(container, container.streams.audio[0], rate, zero=zero)
    if canvas.heard == 0:
        raise MediaError(f"{name}: its audio track is empty (0 samples); give a file with sound.")
    if canvas.length == 0:
        raise MediaError(
            f"{name}: its sound ends before second {start:g}; give sound for the clip."
        )
    return canvas.samples[: canvas.length]


def read_clip_audio(
    video_path: probing.PathLike, audio_path: probing.PathLike | None, frames: int
) -> Float32[np.ndarray, " s"]:
    """Exactly 640 samples for each of `frames` frames, sample 0 at the video's first frame.

    The video's own track keeps the container's offset (late sound is preceded by silence, early
    sound is cut); a separate file begins with the video. Silence is added, or the tail cut, to fit
    the frames.

    Raises:
      MediaError: as `read_audio`.
    """
    if audio_path is None:
        samples = read_audio(video_path, start=probing.probe(video_path).video_start)
    else:
        samples = read_audio(audio_path)
    return fit(samples, frames * SAMPLES_PER_FRAME)


def audio_rate(path: probing.PathLike) -> int:
    """Samples a second of a file's first audio stream, as stored; 0 without one.

    Raises:
      MediaError: an unreadable file.
    """
    with probing.open_container(path) as container:
        return container.streams.audio[0].rate if container.streams.audio else 0


def fit(samples: Float32[np.ndarray, " s"], length: int) -> Float32[np.ndarray, " s"]:
    """The samples cut, or continued with silence, to `length`."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def write_wav(
    path: probing.PathLike, samples: Float32[np.ndarray, " s"], rate: int = AUDIO_RATE
) -> None:
    """Write mono samples in [-1, 1] as 16-bit PCM; the file appears complete or not at all.

    Raises:
      MediaError: the folder is missing or full.
    """
    target = pathlib.Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file, wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(rate)
            writer.writeframes(to_int16(samples).tobytes())
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MediaError(
            f"{target} cannot be written ({error.strerror}); free space or choose another folder."
        ) from error


def to_int16(samples: Float32[np.ndarray, " s"]) -> np.ndarray:
    """Samples in [-1, 1] as 16-bit integers, rounded and clipped; the inverse divides by 32,768."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


class _Canvas:
    """Samples laid out on one clock; grows by halves, so that long sound is held about once.

    Attributes:
      samples: the buffer; everything up to `length` is part of the result.
      heard: samples decoded, whether or not they fell on the canvas.
    """

    def __init__(self, capacity: int) -> None:
        self.samples = np.zeros(max(1, capacity), np.float32)
        self.length = self.heard = 0

    def put(self, at: int, samples: np.ndarray) -> None:
        self.heard += len(samples)
        kept = samples[max(0, -at) :]
        at = max(0, at)
        end = at + len(kept)
        if not len(kept):
            return
        if end > len(self.samples):
            grown = np.zeros(max(end, len(self.samples) * 3 // 2), np.float32)
            grown[: self.length] = self.samples[: self.length]
            self.samples = grown
        self.samples[at:end] = kept
        self.length = max(self.length, end)


def _decode(container: Any, stream: Any, rate: int, *, zero: float) -> _Canvas:
    """Decode and resample the stream, each stretch without a gap placed by its first time stamp."""
    canvas = _Canvas(int(((container.duration or 0) / 1e6 + 1) * rate))
    run: _Resampler | None = None
    expected = 0.0
    for frame in _frames(container, stream):
        begin = expected
        if frame.pts is not None and frame.time_base is not None:
            begin = float(frame.pts * frame.time_base)
        if run is None or abs(begin - expected) > _GAP_SECONDS:
            if run is not None:
                run.finish()
            expected = begin
            run = _Resampler(rate, canvas=canvas, at=round((begin - zero) * rate))
        run.add(frame)
        expected += frame.samples / frame.sample_rate
    if run is not None:
        run.finish()
    return canvas


def _frames(container: Any, stream: Any) -> Any:
    """Decoded audio frames; a damaged packet leaves a gap."""
    import av.error

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames


class _Resampler:
    """Resamples the frames of one run to mono (mean of the channels), onto the canvas."""

    def __init__(self, rate: int, *, canvas: _Canvas, at: int) -> None:
        import av

        self._resampler = av.AudioResampler(format="fltp", rate=rate)
        self._canvas, self._at = canvas, at

    def add(self, frame: Any) -> None:
        frame.pts = None  # the run's start is kept apart; contiguous stamps are what swr expects
        self._take(frame)

    def finish(self) -> None:
        self._take(None)

    def _take(self, frame: Any) -> None:
        for part in self._resampler.resample(frame):
            samples = part.to_ndarray().mean(0)  # FFmpeg's own mix to mono is louder
            self._canvas.put(self._at, samples)
            self._at += len(samples)
