import numpy as np
import pytest

from talkface_jax.errors import MediaError
from talkface_jax.media.audio import read_audio
from talkface_jax.media.probe import open_container, probe
from talkface_jax.media.video import VideoWriter, open_video

SIZE = (63, 81)


def _frame(k):
    ramp = np.linspace(40, 180, SIZE[1])[None, :, None]
    return np.broadcast_to(ramp + k, (*SIZE, 3)).astype(np.uint8)


def _click(at, length):
    sound = np.zeros(length, np.float32)
    k = np.arange(200)
    sound[at : at + 200] = 0.8 * np.sin(0.5 * k) * np.exp(-k / 50)
    return sound


def _write(path, frames=50, **options):
    with VideoWriter(path, size=SIZE, **options) as writer:
        for k in range(frames):
            writer.write(_frame(k))


def test_round_trip(tmp_path):
    sound = _click(8000, 50 * 640)
    _write(tmp_path / "a.mp4", audio=sound, metadata={"title": "t", "provenance": '{"a": 1}'})
    info = probe(tmp_path / "a.mp4")
    assert (info.frames, info.height, info.width) == (50, 64, 82)
    assert info.fps == pytest.approx(25)
    with open_video(tmp_path / "a.mp4") as video:
        for k in (0, 24, 49):
            assert np.abs(video[k][:63, :81].astype(float) - _frame(k)).mean() < 3
    heard = read_audio(tmp_path / "a.mp4", start=info.video_start)
    shared = min(len(heard), len(sound))
    lags = range(-40, 41)
    best = max(lags, key=lambda d: float(np.dot(np.roll(heard[:shared], -d), sound[:shared])))
    assert abs(best) <= 2
    with open_container(tmp_path / "a.mp4") as container:
        assert container.metadata["title"] == "t"
        assert container.metadata["provenance"] == '{"a": 1}'


def test_sound_by_iterator_equals_sound_by_array(tmp_path):
    sound = (np.random.default_rng(0).normal(size=20 * 640) * 0.1).astype(np.float32)
    _write(tmp_path / "a.mp4", 20, audio=sound)
    _write(tmp_path / "b.mp4", 20, audio=iter(np.array_split(sound, 7)))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_short_sound_ends_in_silence_and_long_sound_is_cut(tmp_path):
    _write(tmp_path / "a.mp4", 50, audio=_click(100, 6400))
    _write(tmp_path / "b.mp4", 50, audio=_click(100, 640_000))
    for name in ("a.mp4", "b.mp4"):
        assert len(read_audio(tmp_path / name)) == pytest.approx(50 * 640, abs=1100)
    assert np.abs(read_audio(tmp_path / "a.mp4")[8000:]).max() < 0.01


def test_streamed_sound(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", size=SIZE) as writer:
        for k in range(25):
            writer.write_audio(_click(10, 640) if k == 12 else np.zeros(640, np.float32))
            writer.write(_frame(k))
    heard = read_audio(tmp_path / "a.mp4")
    assert np.flatnonzero(np.abs(heard) > 0.2)[0] == pytest.approx(12 * 640 + 10, abs=40)
    writer = VideoWriter(tmp_path / "b.mp4", size=SIZE)
    writer.write(_frame(0))
    with pytest.raises(ValueError, match="after a frame"):
        writer.write_audio(np.zeros(640, np.float32))
    writer.discard()


@pytest.mark.parametrize("written", [0, 3])
def test_failure_leaves_the_older_file(tmp_path, written):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"older")

    def fail():
        with VideoWriter(target, size=SIZE) as writer:
            for k in range(written):
                writer.write(_frame(k))
            if written:
                raise RuntimeError("renderer")

    with pytest.raises(RuntimeError if written else MediaError):
        fail()
    assert target.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_full_disk(tmp_path, monkeypatch):
    """The encoder's output hits a full disk: one sentence, nothing left behind."""
    writer = VideoWriter(tmp_path / "a.mp4", size=SIZE)

    class Full:
        def encode(self, frame):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_video", Full())
    with pytest.raises(MediaError, match=r"No space left on device.*free space"), writer:
        writer.write(_frame(0))
    assert list(tmp_path.iterdir()) == []


def test_bad_targets(tmp_path):
    with pytest.raises(MediaError, match="suffix"):
        VideoWriter(tmp_path / "a.txt", size=SIZE)
    with pytest.raises(MediaError, match="no such folder"):
        VideoWriter(tmp_path / "b" / "a.mp4", size=SIZE)
    with VideoWriter(tmp_path / "a.mp4", size=SIZE) as writer:
        with pytest.raises(ValueError, match="not uint8"):
            writer.write(np.zeros((8, 8, 3), np.uint8))
        writer.write(_frame(0))
