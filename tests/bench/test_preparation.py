"""Frames a second that one core prepares, by stage and as a whole; no time is asserted.

The process is bound to one core for the while, so that threads of the decoder and of the tracker
count as what they cost. A clip like MEAD's (1920x1080, 30 frames a second) and one like LRS2's
(160x160, 25) are made of the synthetic actor.
"""

import os
import shutil

import numpy as np
import pytest

from data_prep import prepare, quality, segments
from talkface_jax.data import schema, store
from talkface_jax.media import probe
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.images import crop_resize
from talkface_jax.media.tracker import FaceTracker, track_video
from talkface_jax.media.video import VideoWriter, open_video
from talkface_jax.records import ClipInfo

pytestmark = pytest.mark.bench
SECONDS = 4
KINDS = {"1920x1080": ((1080, 1920), 30), "160x160": ((160, 160), 25)}


class Decoded(list):
    """A clip's frames, all decoded, in the place of the video that they come from."""

    def __init__(self, video):
        super().__init__(video)
        self.info = video.info


@pytest.fixture(scope="module")
def one_core():
    cv2 = pytest.importorskip("cv2")
    cores, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    os.sched_setaffinity(0, {min(cores)})
    cv2.setNumThreads(1)
    yield
    os.sched_setaffinity(0, cores)
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module", params=KINDS)
def clip(request, tmp_path_factory, frames, data_dir):
    """A raw folder with one clip: name of its kind, path."""
    (height, width), fps = KINDS[request.param]
    path = tmp_path_factory.mktemp("raw") / "clip.mp4"
    speech = read_clip_audio(data_dir / "obama_speech.mp4", None, 25 * (SECONDS + 1))[16_000:]
    side = max(height, width)
    scaled = []
    for frame in frames:
        h, w = frame.shape[:2]
        # A square picture is cut to the clip's shape around its middle.
        middle, half = np.array([w / 2, h / 2]), np.array([w * width, h * height]) / side / 2
        box = np.concatenate([middle - half, middle + half]).astype(np.float32)
        scaled.append(crop_resize(frame, box, (height, width)))
    with VideoWriter(path, size=(height, width), fps=fps, audio=speech) as writer:
        for t in range(SECONDS * fps):
            writer.write(scaled[t % len(scaled)])
    return request.param, path


def test_stages(board, one_core, clip, tmp_path):
    kind, path = clip
    count = 25 * SECONDS
    about = {"items": count, "repeats": 3, "detail": f"{kind}, one core"}
    with open_video(path) as video:
        decoded = Decoded(video)
    assert len(decoded) == count
    board.per_second("prepare, probe: frames", lambda: probe.scan(path), **about)
    board.per_second("prepare, decode: frames", lambda: _decode(path), **about)
    sound = read_clip_audio(path, None, count)
    board.per_second("prepare, sound: frames", lambda: read_clip_audio(path, None, count), **about)
    with FaceTracker() as tracker:

        def track():
            return track_video(decoded, face="largest", audio=sound, tracker=tracker)

        found = track()
        assert found.valid.all()
        board.per_second("prepare, track: frames", track, **about)
    info = ClipInfo("bench", "clip", "actor", path.name)
    tracked = segments.TrackedClip(info, decoded, found, sound, 16_000)
    crops = [segments.crop(tracked, t) for t in quality.sample_frames(found.valid)]

    def measure():
        quality.measure(found, audio=sound, crops=crops)

    measure()  # the first call loads the voice detector
    board.per_second("prepare, quality: frames", measure, **about)
    board.per_second("prepare, crop and JPEG: frames", lambda: list(segments.cut(tracked)), **about)
    made = list(segments.cut(tracked))

    def write():
        with store.ShardWriter(tmp_path / "part.tfrecord") as writer:
            for segment in made:
                writer.write(schema.encode(segment), schema.record_meta(segment))

    board.per_second("prepare, write: frames", write, **about)


def _decode(path):
    with open_video(path) as video:
        for frame in video:
            assert frame.size


def test_whole(board, one_core, clip, tmp_path):
    kind, path = clip

    def run():
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        summary = prepare.prepare("folder", raw=path.parent, out=out, face="largest")
        assert summary.frames == 25 * SECONDS

    run()  # the first call loads Beam and what writes TFDS's files
    board.per_second(
        "prepare, all with Beam: frames",
        run,
        items=25 * SECONDS,
        repeats=3,
        detail=f"{kind}, one core, one clip",
    )
