"""A method that the engine has never heard of walks the whole road from its own file."""

import json
import pathlib
import sys

import numpy as np
import pytest

from talkface_jax.cli.main import main
from talkface_jax.methods import registry
from talkface_jax.train.checkpoint import load_params

HERE = pathlib.Path(__file__).parent
MOST_LINES = 120


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Its one line in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setitem(registry.PACKAGES, "loudmouth", "loudmouth")
        yield
    sys.modules.pop("loudmouth", None)


@pytest.fixture(scope="module")
def data(synthetic_heads):
    """Two training clips and a test clip."""
    return synthetic_heads


@pytest.fixture(scope="module")
def road(tmp_path_factory, data):
    """Trained and exported; the folder, with its stage `mouth` and its `bundle`."""
    root = tmp_path_factory.mktemp("loudmouth")
    arguments = [f"--config={HERE / 'loudmouth.py'}", f"--workdir={root / 'mouth'}"]
    batch = "--config.data.batch_size=16"
    field = f"--config.data.directory={data}"
    assert main(["train", *arguments, "--no-progress", field, batch]) == 0
    assert main(["export", f"--mouth={root / 'mouth'}", f"--out={root / 'bundle'}"]) == 0
    return root


def _held_out(data):
    clips = json.loads((data / "raw" / "metadata.json").read_text())["clips"]
    (clip,) = [clip for clip in clips if clip["split"] == "test"]
    return data / "raw" / clip["video"], data / "raw" / clip["audio"]


def test_it_is_small():
    assert len((HERE / "loudmouth.py").read_text().splitlines()) <= MOST_LINES


def test_training_finds_that_loud_is_open(road):
    (mouth,) = load_params(road / "mouth")[0].values()
    assert mouth["params"]["Dense_0"]["kernel"][0, 0] > 0.1
    assert 0 < mouth["constants"]["mean"][0] < 1


def test_its_control_is_a_flag_and_opens_the_mouth(road, data, tmp_path):
    from talkface_jax.media.video import open_video

    video, audio = _held_out(data)
    dark = {}
    for gain in ("1", "5"):
        out = tmp_path / f"{gain}.mp4"
        arguments = [f"--bundle={road / 'bundle'}", f"--face={video}", f"--audio={audio}"]
        assert main(["synthesize", *arguments, f"--out={out}", f"--gain={gain}"]) == 0
        with open_video(out) as made, open_video(video) as source:
            frames = range(min(len(made), len(source)))
            changed = [np.abs(made[i].astype(int) - source[i]).max(-1) > 60 for i in frames]
        dark[gain] = np.mean(changed)
    assert dark["5"] > 1.3 * dark["1"] > 0


def test_what_it_does_not_declare_is_refused(road, data, tmp_path, capsys):
    video, audio = _held_out(data)
    arguments = [f"--bundle={road / 'bundle'}", f"--face={video}", f"--audio={audio}"]
    out = f"--out={tmp_path / 'none.mp4'}"
    assert main(["synthesize", *arguments, out, "--blink=0.3"]) == 1
    words = "loudmouth has no --blink; leave it out (it takes --gain)"
    assert words in capsys.readouterr().err
    assert main(["synthesize", *arguments, out, "--gain=0"]) == 1
    assert "--gain must be above 0, but is 0" in capsys.readouterr().err
    assert not (tmp_path / "none.mp4").exists()


def test_evaluation_scores_it_and_looks_for_no_blinks(road, data, tmp_path):
    bundle = f"--bundle={road / 'bundle'}"
    assert main(["evaluate", bundle, f"--data={data}", f"--out={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "scores.json").read_text())["rows"]
    value = {name: row["metrics"]["opening_correlation"]["value"] for name, row in rows.items()}
    # It follows the sound: with the sound shifted or gone it does not follow the mouth.
    assert value["model"] > 0.3 > max(value["shifted-audio"], value["static-mouth"])
    assert not (tmp_path / "blinks.json").exists()
