"""A picture follows a video: what is around the face stays, whatever the shape of the picture."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from talkface_jax import api
from talkface_jax.cli.main import main
from talkface_jax.landmarks import boxes
from talkface_jax.media.tracker import track_video
from talkface_jax.media.video import open_video, open_visual
from talkface_jax.media.writer import VideoWriter
from talkface_jax.methods.emoconv import programs
from talkface_jax.models.render.latent_keypoints.dense_motion import RATE
from talkface_jax.train import initial
from tests.helpers.filling import filled_shapes

DATA = pathlib.Path(__file__).parents[1] / "data"
CODEC = 6.0
"""Levels by which H.264 changes a flat region, on average."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, repository):
    """Of a generator that takes the whole flow by tracked keypoints, as training makes one do."""
    root = tmp_path_factory.mktemp("follow")
    experiment = api.load_experiment(f"{repository}/configs/emoconv/generator.py:tiny")
    shapes = programs.programs(experiment.task)[0].variables()["generator"]
    variables = filled_shapes(shapes)
    motion = variables["params"]["warping"]["dense_motion"]
    motion["share"] = np.full_like(motion["share"], 1 / RATE)
    # Next to nothing is painted.
    colour = variables["params"]["decoder"]["colour"]
    colour |= {name: 1e-3 * leaf for name, leaf in colour.items()}
    info = {"method": "emoconv", "stage": "generator", "lineage": {}}
    initial.write_variables(root / "generator", experiment, {"generator": variables}, info)
    assert main(["export", f"--generator={root / 'generator'}", f"--out={root / 'b'}"]) == 0
    return root / "b"


@pytest.fixture(scope="module")
def driver(synthetic_heads):
    return next(path for path in sorted((synthetic_heads / "raw").rglob("*.mp4")))


def _picture(folder, *, canvas, shrink):
    """The packaged portrait, smaller, on a larger canvas of another shape."""
    with Image.open(DATA / "astronaut.jpg") as image:
        face = image.convert("RGB")
    face = face.resize((face.width // shrink, face.height // shrink))
    made = Image.new("RGB", canvas, (90, 120, 60))
    made.paste(face, ((canvas[0] - face.width) // 2, (canvas[1] - face.height) // 2))
    path = folder / "picture.png"
    made.save(path)
    return path


@pytest.mark.parametrize("canvas", [(640, 400), (360, 640)], ids=["landscape", "portrait"])
def test_the_background_is_held(bundle, driver, tmp_path, canvas):
    """A person smaller than the frame: nothing outside of the crop changes, and at its border the
    frames are the picture's, so there is no seam and nothing that could shake."""
    picture, out = _picture(tmp_path, canvas=canvas, shrink=2), tmp_path / "out.mp4"
    arguments = [f"--bundle={bundle}", f"--face={picture}", f"--driver={driver}", f"--out={out}"]
    assert main(["synthesize", *arguments, "--mark=invisible"]) == 0
    still = np.asarray(Image.open(picture)).astype(np.float64)
    with open_visual(picture) as source:
        track = track_video(source)
    x0, y0, x1, y1 = np.clip(
        boxes.record_boxes(track.landmarks, valid=track.valid, size=track.size)[0],
        0,
        [canvas[0], canvas[1]] * 2,
    ).astype(int)
    outside = np.ones(still.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    border = np.zeros_like(outside)
    border[y0:y1, x0:x1] = True
    border[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = False
    assert outside.mean() > 0.2 and border.any()
    moved = []
    with open_video(out) as made, open_video(driver) as followed:
        assert len(made) == len(followed) and made.size == still.shape[:2]
        for index in range(0, len(made), 10):
            apart = np.abs(made[index].astype(np.float64) - still).mean(-1)
            assert apart[outside].mean() < CODEC
            assert apart[border].mean() < 2 * CODEC
            moved.append(apart[~outside].mean())
    assert max(moved) > 2 * min(moved) > 0


def test_frames_of_the_driver_without_a_face_are_told(bundle, driver, tmp_path, capsys):
    gaps, out = tmp_path / "gaps.mp4", tmp_path / "out.mp4"
    with open_video(driver) as video, VideoWriter(gaps, size=video.size) as writer:
        for index in range(6):
            writer.write(np.full_like(video[index], 99) if index in (1, 2) else video[index])
    picture = _picture(tmp_path, canvas=(640, 400), shrink=1)
    arguments = [f"--bundle={bundle}", f"--face={picture}", f"--driver={gaps}", f"--out={out}"]
    assert main(["synthesize", *arguments]) == 0
    assert "2 hold the driver's nearest face" in capsys.readouterr().out
    with open_video(out) as made:
        held = np.abs(made[1].astype(float) - made[0].astype(float)).mean()
        assert held < CODEC / 3


def test_bad_drivers_are_told_by_name(bundle, driver, tmp_path, refused):
    picture = _picture(tmp_path, canvas=(640, 400), shrink=1)
    out = tmp_path / "out.mp4"
    common = [f"--bundle={bundle}", f"--face={picture}", f"--out={out}"]
    missing = tmp_path / "none.mp4"
    assert "none.mp4" in refused("synthesize", *common, f"--driver={missing}")
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert "text.mp4" in refused("synthesize", *common, f"--driver={text}")
    assert "is one of the inputs" in refused(
        "synthesize", *common[:2], f"--out={driver}", f"--driver={driver}"
    )
    assert "has no --blink" in refused("synthesize", *common, f"--driver={driver}", "--blink=off")
    assert not out.exists()
