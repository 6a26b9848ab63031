"""Small media files made on the spot: grey-level frames that tell their time, sound with clicks."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

RATE = 44_100


def _write_movie(path, *, stamps, audio_start=None, size=(64, 64), sound_seconds=3):
    """A movie whose frame at second s has grey level 60 s; clicks at seconds 1, 2 of its sound.

    `stamps` are the presentation times of the frames in milliseconds; `audio_start` is when the
    sound begins on the same clock in seconds (None: no sound).
    """
    tick = Fraction(1, 1000)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25, options={"crf": "8", "g": "20"})
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = tick
        audio: Any = None
        if audio_start is not None:
            audio = out.add_stream("aac", rate=RATE, layout="stereo")
        for ms in stamps:
            level = round(60 * ms / 1000)
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = ms, tick
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None and audio_start is not None:
            for second in range(sound_seconds):
                block = np.zeros((2, RATE), np.float32)
                if second:
                    k = np.arange(300)
                    block[:, :300] = 0.8 * np.sin(0.5 * k) * np.exp(-k / 60)
                sound = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
                sound.pts = second * RATE + round(audio_start * RATE)
                out.mux(audio.encode(sound))
            out.mux(audio.encode(None))


@pytest.fixture
def write_movie():
    """The function `_write_movie`."""
    return _write_movie


@pytest.fixture
def obama(data_dir):
    """8.75 s of real speech at 12 fps with a second, silent face."""
    return data_dir / "obama_speech.mp4"


@pytest.fixture
def astronaut(data_dir):
    """A real portrait."""
    return data_dir / "astronaut.jpg"
