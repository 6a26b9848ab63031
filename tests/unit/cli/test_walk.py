"""The walk's commands, and the demo of a method that a video drives, without the work."""

import csv
import pathlib

import cv2
import numpy as np
import pytest
from PIL import Image

from talkface_jax.capabilities import COPIED, Driven
from talkface_jax.cli import demo_follow, walk
from talkface_jax.errors import TalkfaceError
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter

FRAMES = 5
SHOWN = 2


@pytest.fixture
def commands(monkeypatch):
    """Those that a walk would have run."""
    noted = []
    monkeypatch.setattr(walk.Walk, "command", lambda self, *words: noted.append(words))
    return noted


def write(path, *, seed):
    """A video that brightens from frame to frame; another of each seed."""
    with VideoWriter(path, size=(48, 64)) as writer:
        for index in range(FRAMES):
            writer.write(np.full((48, 64, 3), 40 * index + 10 * seed, np.uint8))


@pytest.mark.parametrize(
    ("drive", "flag"), [(None, "--audio"), (Driven.AUDIO, "--audio"), (Driven.VIDEO, "--driver")]
)
def test_a_recording_or_a_video_drives(commands, drive, flag):
    given = {} if drive is None else {"drive": drive}
    walk.Walk().synthesize(*map(pathlib.Path, "bsvo"), "--seed=1", **given)
    assert commands == [
        ("synthesize", "--bundle=b", "--face=s", f"{flag}=v", "--seed=1", "--out=o")
    ]


def test_a_strip_shows_frames_from_the_first_to_the_last(tmp_path):
    write(tmp_path / "a.mp4", seed=0)
    strip = walk.strip_of(tmp_path / "a.mp4", tmp_path / "strip.png")
    levels = cv2.imread(str(strip))[24, 32::64, 0].astype(int)
    expected = 40 * np.linspace(0, FRAMES - 1, 10).round()
    np.testing.assert_allclose(levels, expected, atol=6)
    with pytest.raises(TalkfaceError, match="cannot be written"):
        walk.strip_of(tmp_path / "a.mp4", tmp_path / "none" / "strip.png")


@pytest.fixture
def followed(commands, tmp_path, monkeypatch):
    """What the demo of a followed video shows, for three clips of two people."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    actors = ("W131", "W131", "M102")
    clips = [
        {"clip": f"c{k}", "video": f"v{k}.mp4", "actor": actor, "emotion": "sad"}
        for k, actor in enumerate(actors)
    ]
    for k in range(3):
        write(raw / f"v{k}.mp4", seed=k)
    monkeypatch.setattr(demo_follow, "strip_of", lambda mp4, strip: strip)
    # There is no face in these videos.
    monkeypatch.setattr(demo_follow, "_shows_best", lambda video, path: SHOWN)
    shown = demo_follow.show(
        walk.Walk(),
        clips,
        raw=raw,
        out=out,
        bundle=tmp_path / "bundle",
        untrained=tmp_path / "untrained",
        workers=3,
    )
    return raw, out, shown


def test_a_frame_follows_its_own_clip_by_both_networks(followed, commands, tmp_path):
    raw, out, _ = followed
    pairs = out / "held_out"
    made = [words for words in commands if words[0] == "synthesize"]
    for k in range(3):
        truth = pairs / "truth" / f"c{k}.mp4"
        assert truth.read_bytes() == (raw / f"v{k}.mp4").read_bytes()
        for row, bundle in (("model", "bundle"), ("untrained", "untrained")):
            assert (
                "synthesize",
                f"--bundle={tmp_path / bundle}",
                f"--face={pairs / f'c{k}.png'}",
                f"--driver={truth}",
                f"--out={pairs / row / f'c{k}.mp4'}",
            ) in made
    assert len(made) == 2 * 3 + 1
    # The show-piece: another person's video.
    assert made[-1][2:4] == (f"--face={pairs / 'c0.png'}", f"--driver={raw / 'v2.mp4'}")


def test_the_copied_picture_is_the_chosen_frame_as_long_as_the_clip(followed):
    _, out, _ = followed
    pairs = out / "held_out"
    for k in range(3):
        picture = np.asarray(Image.open(pairs / f"c{k}.png"), int)
        assert picture.shape == (48, 64, 3)
        np.testing.assert_allclose(picture, 40 * SHOWN + 10 * k, atol=4)
        with open_video(pairs / COPIED / f"c{k}.mp4") as video:
            assert len(video) == FRAMES
            for index in (0, FRAMES - 1):
                np.testing.assert_allclose(np.asarray(video[index], int), picture, atol=4)


def test_all_rows_are_scored_with_lpips_of_the_face(followed, commands):
    _, out, shown = followed
    pairs = out / "held_out"
    assert commands[-1] == (
        "evaluate",
        f"--pred=model={pairs / 'model'}",
        f"--pred=untrained={pairs / 'untrained'}",
        f"--pred={COPIED}={pairs / COPIED}",
        f"--truth={pairs / 'truth'}",
        f"--metadata={pairs / 'clips.csv'}",
        "--face-lpips",
        "--workers=3",
        f"--out={out / 'scores_video'}",
    )
    with (pairs / "clips.csv").open() as file:
        assert [row["speaker"] for row in csv.DictReader(file)] == ["W131", "W131", "M102"]
    assert out / "scores_video" / "report.html" in shown
