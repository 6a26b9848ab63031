"""Videos in one picture: their places, names, sound and origin."""

import cv2
import numpy as np
import pytest

from talkface_jax.errors import MediaError
from talkface_jax.media import grid, mark
from talkface_jax.media.audio import read_audio
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter

SIZE = (64, 96)
LEVELS = {"one": 40, "two": 90, "three": 140, "four": 190, "five": 240}


@pytest.fixture
def videos(tmp_path):
    """Gray videos of ever more frames, the first with a tone; each frame a bit brighter."""
    (tmp_path / "in").mkdir()
    bundle = tmp_path / "in" / "face.png"
    bundle.write_bytes(b"face")
    tags = mark.provenance(
        method="mood",
        weight_id="abc",
        mark=mark.Mark.VISIBLE,
        software="talkface_jax 0",
        inputs={"face": bundle},
    )
    found = {}
    for number, (name, level) in enumerate(LEVELS.items()):
        path = tmp_path / "in" / f"{name}.mp4"
        tone = 0.5 * np.sin(np.arange(16_000) / 5).astype(np.float32)
        size = SIZE if name != "five" else (128, 192)
        with VideoWriter(
            path, size=size, audio=tone if not number else None, metadata=tags
        ) as writer:
            for t in range(10 + number):
                writer.write(np.full((*size, 3), level + t, np.uint8))
        found[name] = path
    return found


def _places(frame):
    """Mean gray of the lower half of every cell of two columns."""
    height, width = SIZE
    return [
        frame[row * height + height // 2 : (row + 1) * height, column * width :][:, :width].mean()
        for row in range(frame.shape[0] // height)
        for column in range(2)
    ]


def test_every_video_has_its_place_and_the_shortest_its_length(videos, tmp_path):
    out = grid.write_grid(videos, tmp_path / "grid.mp4", columns=2)
    with open_video(out) as made:
        assert (len(made), made.size) == (10, (3 * 64, 2 * 96))
        for t in (0, 9):
            wanted = [level + t for level in LEVELS.values()]
            assert _places(made[t]) == pytest.approx([*wanted, 0], abs=3)
        # The names stand in the upper halves.
        assert all(np.ptp(made[0][row * 64 :][:20, :60].astype(int)) > 60 for row in range(3))


def test_the_sound_is_the_first_ones(videos, tmp_path):
    sound = read_audio(grid.write_grid(videos, tmp_path / "grid.mp4"))
    assert len(sound) >= 10 * 640 - 64
    power = np.abs(np.fft.rfft(sound[:6000]))
    peak = np.fft.rfftfreq(6000, 1 / 16_000)[power.argmax()]
    assert peak == pytest.approx(16_000 / 5 / (2 * np.pi), abs=10)
    silent = {name: videos[name] for name in ("two", "three")}
    with open_video(grid.write_grid(silent, tmp_path / "silent.mp4")) as made:
        assert not made.info.has_audio


def test_a_grid_of_generated_files_says_that_it_is_one(videos, tmp_path):
    out = grid.write_grid(videos, tmp_path / "grid.mp4")
    found, first = mark.read_provenance(out), mark.read_provenance(videos["one"])
    assert found is not None and first is not None
    assert (found.method, found.weight_id, found.mark) == ("mood", "abc", "visible")
    assert list(first.inputs) == ["face"]
    assert found.inputs == {
        name: f"{name}.mp4 sha256:{mark.file_digest(path)}" for name, path in videos.items()
    }


def test_a_grid_of_other_videos_says_nothing(tmp_path):
    path = tmp_path / "plain.mp4"
    with VideoWriter(path, size=SIZE, metadata={"comment": "my holidays"}) as writer:
        writer.write(np.zeros((*SIZE, 3), np.uint8))
    assert mark.read_provenance(path) is None
    assert mark.read_provenance(grid.write_grid({"a": path}, tmp_path / "g.mp4")) is None
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"text\.mp4 cannot be read as a video"):
        mark.read_provenance(tmp_path / "text.mp4")


def test_a_strip_has_a_row_for_each_video(videos, tmp_path):
    out = grid.write_strip(videos, tmp_path / "strip.png", frames=3)
    image = cv2.imread(str(out))
    assert image.shape == (5 * 64, 3 * 96, 3)
    below = image.reshape(5, 64, 3, 96, 3)[:, 32:].mean((1, 3, 4))
    # Frames 2, 4 and 7 of ten, inside of both ends.
    wanted = np.array(list(LEVELS.values()))[:, None] + [2, 4, 7]
    np.testing.assert_allclose(below, wanted, atol=3)


def test_what_cannot_be_shown_or_written_is_told(videos, tmp_path):
    with pytest.raises(ValueError, match="no video to show"):
        grid.write_grid({}, tmp_path / "grid.mp4")
    with pytest.raises(MediaError, match="cannot be written; check the folder"):
        grid.write_strip(videos, tmp_path / "none" / "strip.png")
    with pytest.raises(MediaError, match="make it before writing"):
        grid.write_grid(videos, tmp_path / "none" / "grid.mp4")
    assert not list(tmp_path.glob("*.mp4"))
