"""Folders as three public tools write them: every clip is found, cut, aligned and the same."""

import numpy as np
import public_tools
import pytest

from talkface_jax.evaluate import cropping, lengths, pairs
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.metrics.image import psnr
from talkface_jax.records import SAMPLES_PER_FRAME

SIZE = (48, 64)
LENGTHS = {"s1/M003_up_01": 25, "s1/M003_up_02": 26, "s2/clip": 50, "s2/other.take": 28}
"""Of which the first three are 4, 3 and 3 frames shorter in official IP-LAP's folder."""


def moving(frames: int) -> list[np.ndarray]:
    """A bar that moves 2 pixels a frame inside the middle square, on a ramp."""
    ramp = np.linspace(0, 120, SIZE[1])[None, :, None]
    pictures = []
    for k in range(frames):
        picture = np.broadcast_to(ramp, (*SIZE, 3)).astype(np.uint8)
        picture[:, 8 + 2 * (k % 20) :][:, :6] = 250
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for name, frames in LENGTHS.items():
        path = root / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        sound = 0.1 * np.random.default_rng(frames).normal(size=frames * SAMPLES_PER_FRAME)
        with VideoWriter(path, size=SIZE, audio=sound.astype(np.float32)) as writer:
            for picture in moving(frames):
                writer.write(picture)
    return root


@pytest.mark.parametrize(
    ("write", "rule", "crop"),
    [
        (public_tools.as_official_iplap, "IP-LAP", "right"),
        (public_tools.as_sadtalker, "SadTalker", None),
        (public_tools.as_wav2lip, "Wav2Lip", None),
    ],
)
def test_every_clip_is_found_cut_and_aligned(clips, tmp_path, write, rule, crop):
    truth = pairs.find_videos(clips)
    pred = pairs.find_videos(write(clips, tmp_path / "out"))
    pairing = pairs.pair(truth, pred)
    assert pairing.rules == dict.fromkeys(truth, rule)
    assert not (pairing.strangers or pairing.ambiguous)
    assert len(pairing.left_out) == len(pred) - len(truth)
    seen = set()
    for clip, path in pairing.pairs.items():
        assert path is not None
        with open_video(path) as whole, open_video(truth[clip]) as true:
            video = cropping.CroppedVideo(whole, cropping.parse_crop(crop)) if crop else whole
            overlap = lengths.common(len(video), len(true), tolerance=8, name=str(path))
            seen.add(overlap.shortfall - overlap.surplus)
            if rule == "SadTalker":
                assert video.size == (256, 256)
                expected = [public_tools._square(frame, 256) for frame in true]
            else:
                assert video.size == true.size == SIZE
                expected = list(true)
            for k in range(2, overlap.frames - 1):
                values = [float(psnr(video[k], expected[k + d])) for d in (-1, 0, 1)]
                assert values[1] > 28 and values[1] > max(values[0], values[2]) + 3, (clip, k)
    fewest, most = lengths.TOOLS[rule].missing
    assert seen == set(range(fewest, most + 1))


def test_official_iplap_opens_with_copies_of_frame_2(clips, tmp_path):
    out = public_tools.as_official_iplap(clips, tmp_path)
    path = pairs.find_videos(out)["s2/clipresult_N_25_Nl_15"]
    with open_video(path) as video, open_video(clips / "s2/clip.mp4") as true:
        right = cropping.CroppedVideo(video, cropping.parse_crop("right"))
        assert video.size == (SIZE[0], 2 * SIZE[1])
        for k in range(3):
            assert psnr(right[k], true[2]) > 28
