import wave

import numpy as np
import pytest

from talkface_jax.errors import MediaError
from talkface_jax.media.audio import read_audio, read_clip_audio, write_wav


def first_click(samples):
    """Second of the first sample that is as loud as a click."""
    return float(np.flatnonzero(np.abs(samples) > 0.2)[0]) / 16_000


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("audio_start", "first_frame"), [(0.0, 0), (0.5, 0), (0.0, 480)], ids=["equal", "late", "early"]
)
def test_containers_offset_is_kept(tmp_path, suffix, audio_start, first_frame, write_movie):
    """A click one second into the sound lands where it is heard while the video plays."""
    path = tmp_path / f"a.{suffix}"
    write_movie(path, stamps=range(first_frame, first_frame + 2000, 40), audio_start=audio_start)
    samples = read_clip_audio(path, None, 50)
    assert samples.shape == (50 * 640,)
    assert samples.dtype == np.float32
    assert first_click(samples) == pytest.approx(1 + audio_start - first_frame / 1000, abs=2e-3)
    if audio_start:
        assert np.all(samples[: int(0.4 * 16_000)] == 0)


def test_rate_and_level(tmp_path):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)).astype(np.float32)
    write_wav(tmp_path / "a.wav", tone, 44_100)
    got = read_audio(tmp_path / "a.wav")
    assert len(got) == pytest.approx(16_000, abs=2)
    want = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(got)) / 16_000)
    assert np.abs(got - want)[200:-200].max() < 2e-3


def test_stereo_is_averaged(tmp_path):
    left = np.full(16_000, 0.6)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        pair = np.stack([left, np.zeros(16_000)], 1)
        file.writeframes((pair * 32767).astype("<i2").tobytes())
    assert read_audio(tmp_path / "a.wav") == pytest.approx(np.full(16_000, 0.3), abs=2e-3)


def test_start_moves_the_origin(tmp_path):
    samples = (np.random.default_rng(0).normal(size=16_000) * 0.1).astype(np.float32)
    write_wav(tmp_path / "a.wav", samples)
    whole = read_audio(tmp_path / "a.wav")
    assert np.abs(whole - samples).max() < 2e-5
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", start=0.25), whole[4000:])
    padded = read_audio(tmp_path / "a.wav", start=-0.25)
    np.testing.assert_array_equal(padded, np.concatenate([np.zeros(4000, np.float32), whole]))


def test_separate_file_begins_with_the_video(tmp_path, obama):
    sound = np.zeros(32_000, np.float32)
    sound[8000:8100] = 0.5
    write_wav(tmp_path / "a.wav", sound)
    got = read_clip_audio(obama, tmp_path / "a.wav", 100)
    assert got.shape == (64_000,)
    assert first_click(got) == pytest.approx(0.5, abs=1e-4)


def test_no_audio_track(tmp_path, write_movie):
    write_movie(tmp_path / "a.mp4", stamps=range(0, 400, 40))
    with pytest.raises(MediaError, match=r"no audio track; give a file"):
        read_clip_audio(tmp_path / "a.mp4", None, 10)


def test_zero_length_audio(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(0, np.float32))
    with pytest.raises(MediaError, match=r"a\.wav.*empty \(0 samples\)"):
        read_audio(tmp_path / "a.wav")
    (tmp_path / "b.wav").touch()
    with pytest.raises(MediaError, match=r"b\.wav is empty"):
        read_audio(tmp_path / "b.wav")


def test_text_as_wav(tmp_path):
    (tmp_path / "a.wav").write_text("no sound here\n" * 20)
    with pytest.raises(MediaError, match="text file"):
        read_audio(tmp_path / "a.wav")


def test_sound_that_ends_before_the_clip(tmp_path):
    write_wav(tmp_path / "a.wav", np.ones(1600, np.float32) * 0.1)
    with pytest.raises(MediaError, match="ends before"):
        read_audio(tmp_path / "a.wav", start=1.0)


def test_write_wav_needs_its_folder(tmp_path):
    with pytest.raises(MediaError, match="cannot be written"):
        write_wav(tmp_path / "none" / "a.wav", np.zeros(10, np.float32))
