"""Folders as three public tools write them and ours, scored by one command into one table."""

import json

import browser
import numpy as np
import PIL.Image
import public_tools
import pytest

from talkface_jax.cli.main import main
from talkface_jax.media.audio import read_clip_audio
from talkface_jax.media.video import open_video
from talkface_jax.media.writer import VideoWriter
from talkface_jax.records import SAMPLES_PER_FRAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SPANS = {"b": (0, 70), "a/first": (70, 150)}
TOOLS = ("iplap", "sadtalker", "wav2lip")


@pytest.fixture(scope="module")
def folders(data_dir, tmp_path_factory):
    """True clips, the three tools' folders of the same pictures, and ours, a frame late."""
    root = tmp_path_factory.mktemp("systems")
    path = data_dir / "obama_speech.mp4"
    with open_video(path) as video:
        frames = [np.array(video[i]) for i in range(150)]
    sound = read_clip_audio(path, None, 150)
    for name, (start, end) in SPANS.items():
        for folder, late in (("truth", 0), ("ours", 1)):
            out = root / folder / f"{name}.mp4"
            out.parent.mkdir(parents=True, exist_ok=True)
            heard = sound[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
            with VideoWriter(out, size=frames[0].shape[:2], audio=heard) as writer:
                for index in range(start, end):
                    writer.write(frames[max(start, index - late)])
    public_tools.as_official_iplap(root / "truth", root / "iplap")
    public_tools.as_sadtalker(root / "truth", root / "sadtalker")
    public_tools.as_wav2lip(root / "truth", root / "wav2lip")
    return root


@pytest.fixture(scope="module")
def scored(folders):
    """scores.json of the one command."""
    (folders / "clips.csv").write_text("clip,speaker,view\nb,obama,one\na/first,obama,two\n")
    systems = [f"--pred={name}={folders / name}" for name in ("ours", *TOOLS)]
    status = main(
        [
            "evaluate",
            *systems,
            "--crop=iplap=right",
            "--tolerance=8",
            "--workers=2",
            "--face=largest",
            f"--truth={folders / 'truth'}",
            f"--metadata={folders / 'clips.csv'}",
            f"--tracks={folders / 'tracks'}",
            f"--out={folders / 'out'}",
        ]
    )
    assert status == 0
    return json.loads((folders / "out" / "scores.json").read_text())


def test_nothing_is_dropped_that_should_count(scored):
    assert scored["systems"] == ["ours", *TOOLS]
    assert scored["failures"] == []
    for name in scored["systems"]:
        row = scored["rows"][name]
        assert (row["clips"], row["failed"], row["lost"]) == (2, 0, 0), name
    notes = {(c["row"], c["clip"]): c["notes"] for c in scored["clips"] if c["notes"]}
    assert all("of the truth not predicted" in notes["iplap", clip][0] for clip in SPANS)


def test_twins_are_left_out_and_told(scored):
    told = scored["run"]["left out of sadtalker"]
    assert all(f"{name}_enhanced" in told for name in ("b##b", "first##first"))


def test_the_same_pictures_score_alike_however_a_tool_frames_and_cuts_them(scored):
    values = {name: row["metrics"] for name, row in scored["rows"].items()}
    noise = values["tracker-noise"]
    floor, follows = (noise[name]["value"] for name in ("lip_distance", "opening_correlation"))
    for name in TOOLS:
        assert values[name]["lip_distance"]["value"] < 1.8 * floor, name
        assert values[name]["opening_correlation"]["value"] > follows - 0.05, name
        assert values[name]["lag"]["value"] == 0, name
        assert values[name]["psnr_mouth"]["value"] > values["ours"]["psnr_mouth"]["value"], name
    assert values["ours"]["lag"]["value"] == 1


def test_the_page_shows_all_systems(folders, scored, tmp_path):
    page = folders / "out" / "report.html"
    text = page.read_text()
    for name in (*scored["systems"], *SPANS):
        assert name in text


@browser.needed
def test_the_page_in_a_browser(folders, scored, tmp_path):
    picture = tmp_path / "page.png"
    page = folders / "out" / "report.html"
    browser.run(tmp_path / "profile", page, 1280, 5000, f"--screenshot={picture}")
    with PIL.Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    inked = (pixels != 255).any((1, 2)).reshape(50, 100).any(1)
    assert pixels.shape == (5000, 1280, 3) and inked.mean() > 0.7
