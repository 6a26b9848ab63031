"""What a run writes of itself: metrics.jsonl and TensorBoard events, and its pace."""

import io
import json
import logging
import math
import pathlib
import time
import wave
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from talkface_jax.errors import CheckpointError
from talkface_jax.records import AUDIO_RATE, FPS
from talkface_jax.task import Previews

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "tensorboard"


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, `step` first; flushed line by line.

    Args:
      path: the file; lines of steps after `resume_step`, and a last line cut short by a crash, are
        dropped, so that a resumed run never logs a step twice.
      resume_step: the step that the run goes on from.

    Raises:
      CheckpointError: the file cannot be written.
    """

    def __init__(self, path: pathlib.Path, *, resume_step: int):
        self._path = path
        try:
            if path.exists():
                keep = [line for line in _whole_lines(path) if _step_of(line) <= resume_step]
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_text("".join(keep))
                temporary.replace(path)
            self._file = path.open("a")
        except OSError as error:
            raise self._failure(error) from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one line; values that are not finite become null.

        Raises:
          CheckpointError: the file cannot be written.
        """
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Ends the file."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self._path} cannot be written ({error.strerror}); free disk space or permissions "
            "there and run the same command again"
        )


def _whole_lines(path: pathlib.Path) -> list[str]:
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and _step_of(line) >= 0]


def _step_of(line: str) -> int:
    """The step of a line; -1 where it is not one of ours."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return -1


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`."""
    return [json.loads(line) for line in _whole_lines(path)]


class EventLog:
    """TensorBoard: scalars, image grids, videos (animated GIF) and audio.

    Args:
      directory: folder of event files.
      resume_step: events of later steps, from a run that was cut off, are hidden.
    """

    def __init__(self, directory: pathlib.Path, *, resume_step: int):
        from tensorboardX import SummaryWriter

        directory.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(directory), purge_step=resume_step + 1, flush_secs=10)

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point for each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def write_previews(self, step: int, previews: Previews) -> None:
        """Pictures, films and sounds of one evaluation batch."""
        import tensorboardX.proto.summary_pb2 as protocol

        messages: Any = protocol  # its classes are made at run time
        summary = messages.Summary

        values = []
        for name, image in previews.images.items():
            values.append(_image_value(summary, name, image.shape, encode_png(image)))
        for name, video in previews.videos.items():
            values.append(_image_value(summary, name, video.shape[1:], encode_gif(video)))
        for name, samples in previews.audio.items():
            sound = summary.Audio(
                sample_rate=AUDIO_RATE,
                num_channels=1,
                length_frames=len(samples),
                encoded_audio_string=encode_wav(samples),
                content_type="audio/wav",
            )
            values.append(summary.Value(tag=f"preview/{name}", audio=sound))
        writer = self._writer.file_writer
        assert writer is not None, "the event file is closed"
        writer.add_summary(summary(value=values), step)
        writer.flush()

    def close(self) -> None:
        """Flushes and ends the file."""
        self._writer.close()


def _image_value(summary: Any, name: str, shape: Sequence[int], encoded: bytes) -> Any:
    height, width, channels = shape
    image = summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=encoded
    )
    return summary.Value(tag=f"preview/{name}", image=image)


def encode_png(image: np.ndarray) -> bytes:
    """(h, w, 3) uint8 as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_gif(video: np.ndarray) -> bytes:
    """(t, h, w, 3) uint8 at 25 fps as an endlessly repeating GIF."""
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in video]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // FPS,
        loop=0,
    )
    return buffer.getvalue()


def encode_wav(samples: np.ndarray) -> bytes:
    """Mono float samples in [-1, 1] at 16 kHz as 16-bit WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


class Telemetry:
    """All logs of one run; silent in every process but the first.

    Args:
      workdir: where the files go.
      resume_step: the step that the run goes on from.
      enabled: whether this process writes.
    """

    def __init__(self, workdir: pathlib.Path, *, resume_step: int, enabled: bool):
        self._metrics: MetricsLog | None = None
        self._events: EventLog | None = None
        if enabled:
            self._metrics = MetricsLog(workdir / METRICS_FILE, resume_step=resume_step)
            self._events = EventLog(workdir / EVENTS_FOLDER, resume_step=resume_step)

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._metrics:
            self._metrics.close()
        if self._events:
            self._events.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars of one step, to both logs."""
        logger.info("step %d: %s", step, ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
        if self._metrics:
            self._metrics.write(step, values)
        if self._events:
            self._events.write_scalars(step, values)

    def write_previews(self, step: int, previews: Previews) -> None:
        """Pictures of one step, to TensorBoard."""
        if self._events:
            self._events.write_previews(step, previews)


class Speedometer:
    """Steps a second and the share of waiting for data since the last reading.

    Time in `skip` is left out of both.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._steps = 0
        self._waited = 0.0

    def count(self, *, waited: float = 0.0) -> None:
        """One more step, for whose batch the loop waited so many seconds."""
        self._steps += 1
        self._waited += waited

    def skip(self, seconds: float) -> None:
        """Leaves out time that was not spent on steps."""
        self._start += seconds

    def read(self) -> dict[str, float]:
        """`steps_per_second` and `data_wait`, and a new start.

        `data_wait` in [0, 1] is the share of the time in which the loop waited for a batch to be
        read and its copy to start. What it waits while a step runs costs nothing, so the data are
        the limit where it is near 1: more `data.threads` or `data.workers` help. Near 0 the readers
        keep up, and the devices are the limit.
        """
        now = time.perf_counter()
        seconds = max(now - self._start, 1e-9)
        rate, share = self._steps / seconds, min(self._waited / seconds, 1.0)
        self._start, self._steps, self._waited = now, 0, 0.0
        return {"steps_per_second": rate, "data_wait": share}
