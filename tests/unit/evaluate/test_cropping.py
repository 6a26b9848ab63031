"""Parts of frames, and videos of which only a part is seen."""

import numpy as np
import pytest

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate.cropping import CroppedVideo, parse_crop
from talkface_jax.media.images import crop_resize
from talkface_jax.media.video import IndexedVideo, open_video
from talkface_jax.media.writer import VideoWriter


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("left", (0, 0, 150, 80)),
        (" Right ", (150, 0, 300, 80)),
        ("top", (0, 0, 300, 40)),
        ("bottom", (0, 40, 300, 80)),
        ("1/3", (0, 0, 100, 80)),
        ("2/3", (100, 0, 200, 80)),
        ("4/4", (225, 0, 300, 80)),
        ("10,20,30,40", (10, 20, 30, 40)),
        ("0, 0, 300, 80", (0, 0, 300, 80)),
        ("0.5,0,1,0.5", (150, 0, 300, 40)),
        (".1,.25,.9,1", (30, 20, 270, 80)),
        ("0,0,1,1", (0, 0, 300, 80)),
    ],
)
def test_every_form_of_a_part(text, box):
    assert parse_crop(text).box((80, 300)) == box


@pytest.mark.parametrize("width", [1, 5, 100, 101, 769])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_columns_neither_overlap_nor_leave_a_gap(width, n):
    if width < n:
        with pytest.raises(MediaError, match="leaves nothing"):
            [parse_crop(f"{k}/{n}").box((4, width)) for k in range(1, n + 1)]
        return
    frame = np.arange(4 * width * 3, dtype=np.uint8).reshape(4, width, 3)
    columns = [parse_crop(f"{k}/{n}").apply(frame) for k in range(1, n + 1)]
    np.testing.assert_array_equal(np.concatenate(columns, axis=1), frame)
    assert all(np.shares_memory(column, frame) for column in columns)


def test_an_edge_between_two_pixels_goes_to_the_nearer():
    assert [parse_crop(f"{k}/3").box((9, 101))[::2] for k in (1, 2, 3)] == [
        (0, 34),
        (34, 67),
        (67, 101),
    ]


@pytest.mark.parametrize("width", [100, 101])
def test_halves_are_the_two_columns(width):
    for half, column in (("left", "1/2"), ("right", "2/2")):
        assert parse_crop(half).box((10, width)) == parse_crop(column).box((10, width))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "middle",
        "0/3",
        "4/3",
        "1/1",
        "1/99",
        "1/0",
        "1,2,3",
        "1,2,3,4,5",
        "-1,0,5,5",
        "a,b,c,d",
        "nan,0,1,1",
        "1e3,0,2e3,5",
        "0.5,0,200,80",
        "5,5,5,9",
        "0.5,0,0.4,1",
        "0,0,0,0",
        "0,0,99999999,5",
    ],
)
def test_what_is_no_part_is_refused_in_one_sentence(text):
    with pytest.raises(TalkfaceError) as error:
        parse_crop(text)
    assert str(error.value).startswith(f"--crop={text} ")
    assert "; give " in str(error.value)


def test_a_part_outside_the_frame_names_the_video_and_its_size():
    with pytest.raises(MediaError, match=r"x\.mp4 has frames of 300x80 .*0,0,301,80 reaches"):
        parse_crop("0,0,301,80").box((80, 300), name="x.mp4")
    with pytest.raises(MediaError, match="leaves nothing"):
        parse_crop("0,0,0.001,1").box((80, 300))


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    path = tmp_path_factory.mktemp("crop") / "wide.mp4"
    with VideoWriter(path, size=(48, 128)) as writer:
        for k in range(4):
            frame = np.zeros((48, 128, 3), np.uint8)
            frame[:, 64:] = 60 * k + 20
            writer.write(frame)
    return path


def test_a_cropped_video_is_a_video(side_by_side):
    with CroppedVideo(open_video(side_by_side), parse_crop("right")) as video:
        assert isinstance(video, IndexedVideo)
        assert (len(video), video.size, video.fps) == (4, (48, 64), 25)
        assert (video.info.width, video.info.height) == (64, 48)
        assert video.info.path == str(side_by_side)
        means = [float(frame.mean()) for frame in video]
        np.testing.assert_allclose(means, [20, 80, 140, 200], atol=3)
        assert video[1] is video[1]
        np.testing.assert_array_equal(video[-1], video[3])
        with pytest.raises(IndexError):
            video[4]
        # A view of rows that do not follow each other in memory is read right.
        whole = crop_resize(video[2], np.array([0, 0, 64, 48]), (48, 64))
        np.testing.assert_array_equal(whole, video[2])


def test_a_repeated_frame_is_one_object(side_by_side):
    with CroppedVideo(open_video(side_by_side, fps=100), parse_crop("left")) as video:
        assert len(video) == 16
        assert len({id(frame) for frame in list(video)}) == 4


def test_a_crop_that_the_video_does_not_have_is_refused(side_by_side):
    with open_video(side_by_side) as video, pytest.raises(MediaError, match=r"wide\.mp4 has"):
        CroppedVideo(video, parse_crop("100,0,200,48"))
