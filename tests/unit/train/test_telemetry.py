"""Logs: what TensorBoard and metrics.jsonl really hold."""

import io
import json
import wave

import numpy as np
import pytest

from talkface_jax.errors import CheckpointError
from talkface_jax.task import Previews
from talkface_jax.train.telemetry import (
    EventLog,
    MetricsLog,
    Speedometer,
    encode_gif,
    encode_wav,
    read_metrics,
)


def test_resumed_log_drops_later_and_broken_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, resume_step=0)
    for step in (10, 20, 30):
        log.write(step, {"loss": float(step)})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 40, "lo')
    log = MetricsLog(path, resume_step=20)
    log.write(30, {"loss": float("inf")})
    log.close()
    assert read_metrics(path) == [
        {"step": 10, "loss": 10.0},
        {"step": 20, "loss": 20.0},
        {"step": 30, "loss": None},
    ]
    # Strict JSON: NaN and Infinity are not part of it.
    assert "Infinity" not in path.read_text() and json.loads(path.read_text().splitlines()[0])


def test_unwritable_log_is_one_sentence(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl cannot be written"):
        MetricsLog(tmp_path / "metrics.jsonl", resume_step=0)


def test_tensorboard_shows_scalars_pictures_films_and_sounds(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 8, 3), np.uint8)
    video = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 6 * 8 * 3).reshape(5, 6, 8, 3)
    log = EventLog(tmp_path, resume_step=0)
    log.write_scalars(3, {"loss/net/l1": 0.25})
    log.write_previews(
        3, Previews(images={"grid": image}, videos={"strip": video}, audio={"tone": np.zeros(1600)})
    )
    log.close()
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    (scalar,) = events.Scalars("loss/net/l1")
    assert (scalar.step, scalar.value) == (3, 0.25)
    (grid,) = events.Images("preview/grid")
    np.testing.assert_array_equal(decode(grid.encoded_image_string)[0], image)
    (strip,) = events.Images("preview/strip")
    np.testing.assert_allclose(decode(strip.encoded_image_string), video, atol=2)
    (tone,) = events.Audio("preview/tone")
    assert tone.sample_rate == 16000 and tone.length_frames == 1600


def decode(encoded):
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(encoded)) as image:
        return np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)])


def test_gif_runs_at_25_frames_a_second():
    from PIL import Image

    video = np.random.default_rng(0).integers(0, 255, (3, 4, 4, 3), np.uint8)
    with Image.open(io.BytesIO(encode_gif(video))) as image:
        assert (image.n_frames, image.info["duration"]) == (3, 40)


def test_wav_is_clipped_sixteen_bit_mono():
    with wave.open(io.BytesIO(encode_wav(np.asarray([0.0, 0.5, 2.0, -2.0])))) as file:
        assert file.getparams()[:3] == (1, 2, 16000)
        samples = np.frombuffer(file.readframes(4), "<i2")
    assert samples.tolist() == [0, 16383, 32767, -32767]


def test_speed_leaves_out_pauses(monkeypatch):
    clock = iter([0.0, 10.0, 14.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    speed = Speedometer()
    for _ in range(8):
        speed.count(waited=0.125)
    speed.skip(6.0)
    assert speed.read() == {"steps_per_second": 2.0, "data_wait": 0.25}
    speed.count(waited=3.0)
    assert speed.read() == {"steps_per_second": 0.25, "data_wait": 0.75}
