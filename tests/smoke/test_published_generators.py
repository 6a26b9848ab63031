"""Random weights of the published generators, in the files as they are released, walk the road:
converted, exported, and a picture follows a clip. Slow: full size.

With TALKFACE_RELEASES the files are those that lie there, facevid2vid.pth.tar and the folder
liveportrait, instead of written here.
"""

import os
import pathlib
import time

import numpy as np
import pytest

from talkface_jax.cli.main import main
from talkface_jax.media.video import VideoWriter, open_video
from talkface_jax.methods import registry
from tests.helpers import torch_zip
from tests.helpers.filling import filled_shapes

DATA = pathlib.Path(__file__).parents[1] / "data"
FRAMES = 8
ENTRIES = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}


def _state_dicts(family):
    """Of every network by its name there, at the published sizes."""
    released = registry.torch_networks("emoconv")[family]
    config = released.config()
    for name, network in released.networks.items():
        yield name, network.write(filled_shapes(network.template(config)), config)


def _released(family, folder):
    """The file, or the folder, as it is published."""
    given = os.environ.get("TALKFACE_RELEASES")
    if given:
        names = {"facevid2vid": "facevid2vid.pth.tar", "liveportrait": "liveportrait"}
        return pathlib.Path(given, names[family])
    if family == "facevid2vid":
        path = folder / "00000189-checkpoint.pth.tar"
        torch_zip.save(path, {**dict(_state_dicts(family)), "epoch": 189})
        return path
    corrections = {}
    for part in ("base_models", "retargeting_models"):
        (folder / part).mkdir()
    for name, tensors in _state_dicts(family):
        if name in ENTRIES:
            corrections[ENTRIES[name]] = tensors
        else:
            torch_zip.save(folder / "base_models" / f"{name}.pth", tensors)
    torch_zip.save(folder / "retargeting_models/stitching_retargeting_module.pth", corrections)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", ["facevid2vid", "liveportrait"])
def test_a_release_becomes_a_video(family, tmp_path):
    (tmp_path / "release").mkdir()
    weights, work = _released(family, tmp_path / "release"), tmp_path / "generator"
    flags = ["--method=emoconv", f"--stage={family}", f"--torch={weights}", f"--out={work}"]
    start = time.monotonic()
    assert main(["convert", *flags, "--terms=random weights"]) == 0
    assert main(["export", f"--generator={work}", f"--out={tmp_path / 'bundle'}"]) == 0
    print(f"{family}: converted and exported in {time.monotonic() - start:.1f} s")
    driver, out = tmp_path / "driver.mp4", tmp_path / "out.mp4"
    with open_video(DATA / "obama_speech.mp4") as clip:
        frames = [clip[index] for index in range(FRAMES)]
    with VideoWriter(driver, size=clip.size) as writer:
        for frame in frames:
            writer.write(frame)
    start = time.monotonic()
    asked = [f"--bundle={tmp_path / 'bundle'}", f"--face={DATA / 'astronaut.jpg'}"]
    asked += [f"--driver={driver}", "--driver-choice=largest", f"--out={out}", "--batch=4"]
    assert main(["synthesize", *asked]) == 0
    peak = _peak_gib()
    print(f"{family}: {FRAMES} frames in {time.monotonic() - start:.1f} s, peak {peak:.1f} GiB")
    with open_video(out) as made:
        frames = np.stack([made[index] for index in range(len(made))])
    assert frames.shape == (FRAMES, 512, 512, 3)
    # Something was drawn into the picture, and not one colour.
    assert frames[:, 150:350, 150:350].std() > 5


def _peak_gib():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
