"""One picture as a segment: what preparation would make of it, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from data_prep import segments
from talkface_jax.data.picture import picture_segment
from talkface_jax.data.schema import decode, encode
from talkface_jax.errors import FaceError, MediaError
from talkface_jax.media.images import decode_jpeg
from talkface_jax.media.tracker import track_video
from talkface_jax.media.video import StillVideo, VideoWriter, open_visual
from talkface_jax.records import ClipInfo


class HeldVideo(StillVideo):
    """The picture for a second, as preparation needs it."""

    def __len__(self):
        return 25

    def __getitem__(self, i):
        return self._image


@pytest.fixture(scope="module")
def picture(data_dir):
    return data_dir / "astronaut.jpg"


@pytest.fixture(scope="module")
def pixels(picture):
    with open_visual(picture) as image:
        return image[0]


@pytest.fixture(scope="module")
def segment(picture):
    return picture_segment(picture, speaker="eileen", licence="public domain")


@pytest.fixture(scope="module")
def two(tmp_path_factory, pixels):
    """The portrait twice, side by side."""
    portrait = pixels[:256, 96:352]
    path = tmp_path_factory.mktemp("two") / "two.png"
    Image.fromarray(np.concatenate([portrait, portrait], 1)).save(path)
    return path


def test_it_is_what_preparation_makes_of_the_same_picture(picture, pixels, segment):
    video = HeldVideo(pixels, path=str(picture))
    clip = segments.TrackedClip(
        ClipInfo("picture", "astronaut.jpg", "eileen", str(picture), licence="public domain"),
        video,
        track_video(video),
        np.zeros(25 * 640, np.float32),
        16_000,
    )
    (prepared,) = segments.cut(clip)
    assert segment.info == prepared.info and segment.start == prepared.start
    # Preparation smooths the boxes over time, which may round what stands still.
    np.testing.assert_allclose(segment.box, prepared.box, atol=1e-4)
    np.testing.assert_allclose(segment.landmarks, prepared.landmarks, atol=1e-6)
    for name in ("head", "blendshapes", "valid", "audio"):
        np.testing.assert_array_equal(getattr(segment, name), getattr(prepared, name))
    for ours, theirs in zip(segment.frames, prepared.frames, strict=True):
        difference = decode_jpeg(ours).astype(int) - decode_jpeg(theirs)
        assert np.abs(difference).max() <= 3, "one step of a pixel, through JPEG"
    assert [part.size for part in segment.context] == [part.size for part in prepared.context]


def test_its_frames_are_all_alike_and_it_is_a_record(segment):
    assert len(segment) == 25 and segment.valid.all() and not segment.audio.any()
    assert len(segment.audio) == 25 * 640 and len(set(segment.frames)) == 1
    for rows in (segment.landmarks, segment.head, segment.blendshapes, segment.box):
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))
    again = decode(encode(segment))
    assert again.info == segment.info and again.frames == segment.frames


def test_pixels_give_the_same_as_their_file(pixels, segment):
    found = picture_segment(pixels, frames=3)
    assert found.info == ClipInfo("picture", "picture", "", "")
    assert len(found) == 3 and found.frames == segment.frames[:3]
    np.testing.assert_array_equal(found.landmarks, segment.landmarks[:3])


def test_no_face_is_refused_by_name(tmp_path):
    path = tmp_path / "wall.png"
    Image.fromarray(np.full((200, 300, 3), 128, np.uint8)).save(path)
    with pytest.raises(FaceError, match=r"wall\.png: no face was found .*; give"):
        picture_segment(path)
    with pytest.raises(FaceError, match=r"the picture: no face was found .*; give"):
        picture_segment(np.zeros((200, 300, 3), np.uint8))


def test_of_two_faces_one_must_be_chosen(two):
    with pytest.raises(FaceError, match=r"two\.png: 2 faces were found; choose one with --face="):
        picture_segment(two)
    left, right = (picture_segment(two, face=face) for face in (0, 1))
    assert right.box[0, 0] - left.box[0, 0] == pytest.approx(256, abs=8)
    with pytest.raises(FaceError, match=r"two\.png: face 2 was asked for, but it shows only 2"):
        picture_segment(two, face=2)
    with pytest.raises(FaceError, match="--face=middle is no choice; use"):
        picture_segment(two, face="middle")


def test_a_video_and_what_is_no_picture_are_refused(tmp_path, pixels):
    path = tmp_path / "two frames.mp4"
    with VideoWriter(path, size=(64, 64)) as writer:
        for _ in range(2):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(MediaError, match=r"two frames\.mp4 is a video of 2 frames; give one"):
        picture_segment(path)
    with pytest.raises(MediaError, match=r"nothing\.png"):
        picture_segment(tmp_path / "nothing.png")
    for frames in (0, 126):
        with pytest.raises(ValueError, match=f"{frames} frames are not between 1 and 125"):
            picture_segment(pixels, frames=frames)
