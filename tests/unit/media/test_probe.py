import os
import shutil

import pytest

from talkface_jax.errors import MediaError
from talkface_jax.media.probe import probe
from talkface_jax.media.writer import VideoWriter


def test_real_clip(obama):
    info = probe(obama)
    assert (info.width, info.height, info.frames) == (320, 240, 105)
    assert info.fps == pytest.approx(12)
    assert info.duration == pytest.approx(8.75)
    assert (info.has_audio, info.audio_rate, info.audio_offset) == (True, 24_000, 0)


@pytest.mark.parametrize(("start", "first"), [(0.4, 0), (0.0, 400)])
def test_offset(tmp_path, start, first, write_movie):
    write_movie(tmp_path / "a.mkv", stamps=range(first, 2000 + first, 40), audio_start=start)
    assert probe(tmp_path / "a.mkv").audio_offset == pytest.approx(start - first / 1000, abs=0.03)


def test_silent_movie(tmp_path, write_movie):
    write_movie(tmp_path / "a.mp4", stamps=range(0, 1000, 40))
    info = probe(tmp_path / "a.mp4")
    assert not info.has_audio
    assert info.audio_rate == 0


def _bad_file(kind, folder, obama):
    path = folder / "clip.mp4"
    whole = obama.read_bytes()
    if kind == "text":
        path.write_text("This is no video.\n" * 9)
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) * 6 // 10])
    elif kind == "empty":
        path.touch()
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 20)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "text file"),
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("noise", "damaged"),
        ("folder", "folder"),
        ("missing", "no such file"),
    ],
)
def test_bad_files(tmp_path, kind, words, obama):
    path = _bad_file(kind, tmp_path, obama)
    with pytest.raises(MediaError, match=words) as caught:
        probe(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_lost_tail_of_a_streamable_file(tmp_path, suffix):
    """Files whose index comes first open without complaint; the packets show what is missing."""
    import numpy as np

    whole = tmp_path / f"whole.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
    with VideoWriter(whole, size=(64, 64)) as writer:
        for frame in noise:
            writer.write(frame)
    assert probe(whole).frames == 60
    cut = tmp_path / f"cut.{suffix}"
    shutil.copy(whole, cut)
    os.truncate(cut, whole.stat().st_size * 6 // 10)
    with pytest.raises(MediaError, match="truncated or damaged"):
        probe(cut)


def test_sound_file_is_no_video(tmp_path):
    import numpy as np

    from talkface_jax.media.audio import write_wav

    write_wav(tmp_path / "a.wav", np.zeros(1600, np.float32))
    with pytest.raises(MediaError, match="no video stream"):
        probe(tmp_path / "a.wav")
