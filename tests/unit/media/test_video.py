import numpy as np
import pytest
from PIL import Image

from talkface_jax.errors import MediaError
from talkface_jax.media import video as video_module
from talkface_jax.media.video import open_video, open_visual


def _levels(path):
    with open_video(path) as video:
        return np.array([frame.mean() for frame in video])


@pytest.mark.parametrize(
    "stamps",
    [
        [round(1000 * i / 12) for i in range(36)],
        [round(1000 * i / 29.97) for i in range(90)],
        [round(1000 * i / 60) for i in range(180)],
        [*range(0, 1000, 20), *range(1000, 2000, 100), *range(2000, 3000, 33)],
    ],
    ids=["12fps", "29.97fps", "60fps", "variable"],
)
def test_frames_follow_the_clock(tmp_path, stamps, write_movie):
    """Frame k shows the source frame nearest to second k / 25, whatever the file's rate."""
    write_movie(tmp_path / "a.mp4", stamps=stamps)
    levels = _levels(tmp_path / "a.mp4")
    assert len(levels) == pytest.approx(75, abs=2)
    ticks = 40.0 * np.arange(len(levels))
    nearest = np.array([min(stamps, key=lambda s, t=t: abs(s - t)) for t in ticks])
    # One step of 33 ms is two grey levels: an error of one frame would show in the mean.
    assert np.abs(levels - 60 * nearest / 1000).max() < 2.6
    assert abs(np.mean(levels - 60 * nearest / 1000)) < 1.3


def test_first_frame_is_the_origin(tmp_path, write_movie):
    write_movie(tmp_path / "a.mkv", stamps=range(400, 1400, 40))
    levels = _levels(tmp_path / "a.mkv")
    assert len(levels) == 25
    assert levels[0] == pytest.approx(24, abs=2)


def test_any_order_gives_the_same_frames(monkeypatch, obama):
    monkeypatch.setattr(video_module, "_CHUNK_FRAMES", (4, 16))
    with open_video(obama) as video:
        forward = [frame.copy() for frame in video]
        assert len(forward) == len(video) == 219
        for i in [*range(218, -1, -1), 100, 3, 200, 7, 150, -1]:
            np.testing.assert_array_equal(video[i], forward[i])
        with pytest.raises(IndexError):
            video[219]


def test_memory_is_bounded(obama):
    with open_video(obama) as video:
        for i in [*range(219), *range(218, -1, -1)]:
            _ = video[i]
            held = sum(frame.nbytes for chunk in video._cache.values() for frame in chunk.values())
            assert held <= 2 * 48 * 320 * 240 * 3


def test_repeats_are_one_object(obama):
    with open_video(obama) as video:
        ids = {id(video[i]) for i in range(40)}
        assert len(ids) <= 21  # 12 of 25 frames a second are new
        assert not video[0].flags.writeable


def test_rotation(tmp_path):
    """A phone's sideways video comes out upright, and its size with it."""
    import av

    array = np.zeros((64, 96, 3), np.uint8)
    array[:, :48] = 200
    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        out.mux(stream.encode(None))
    data = bytearray((tmp_path / "a.mov").read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the track's 3 x 3 matrix, 16.16 fixed point
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in quarter)
    (tmp_path / "a.mov").write_bytes(data)
    with open_video(tmp_path / "a.mov") as video:
        assert video.size == (96, 64)
        assert video[0].shape == (96, 64, 3)
        assert video[0][:40].mean() > 150  # the left half turned clockwise lies on top
        assert video[0][-40:].mean() < 50


def test_images_are_videos_of_one_frame(tmp_path, obama, astronaut):
    with open_visual(astronaut) as video:
        assert (len(video), video.size, video[0].shape) == (1, (512, 512), (512, 512, 3))
        with pytest.raises(IndexError):
            video[1]
    Image.fromarray(np.full((8, 6, 4), 77, np.uint8)).save(tmp_path / "a.png")
    with open_visual(tmp_path / "a.png") as video:
        assert video[0].shape == (8, 6, 3)
    with open_visual(obama) as video:
        assert len(video) == 219


def test_damaged_image(tmp_path, astronaut):
    (tmp_path / "a.jpg").write_bytes(astronaut.read_bytes()[:5000])
    with pytest.raises(MediaError, match=r"a\.jpg"):
        open_visual(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="no such file"):
        open_visual(tmp_path / "b.jpg")


def test_threads_that_decode(data_dir):
    """Preparation decodes with one: its workers share the cores."""
    with (
        open_video(data_dir / "obama_speech.mp4", threads=1) as one,
        open_video(data_dir / "obama_speech.mp4") as many,
    ):
        np.testing.assert_array_equal(one[30], many[30])
        assert one._decoder._stream.codec_context.thread_count == 1
        assert many._decoder._stream.codec_context.thread_count != 1
