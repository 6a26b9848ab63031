"""What the goals of the mp4s prove: the demo's renderer meets them, the untrained one does not.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo`, of the methods that lie there) the demo
of every method runs here first.
"""

import os
import pathlib
import shutil

import pytest

from talkface_jax import api
from talkface_jax.capabilities import Aspect, Table
from talkface_jax.cli.main import main
from talkface_jax.evaluate import goals
from talkface_jax.methods import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

METHODS = [name for name, item in registry.methods().items() if Aspect.MOUTH in item.generates]
TRAINING = {
    "rendered mouths, PSNR in dB, trained - untrained",
    "rendered mouths, LPIPS, trained / untrained",
}
"""What only training can reach."""


@pytest.fixture(scope="module", params=METHODS)
def walked(request, tmp_path_factory, repository):
    """A method's declaration, and the folder of its walked demo."""
    method = registry.declaration(request.param)
    given = os.environ.get("TALKFACE_DEMO")
    if given:
        if not (pathlib.Path(given) / request.param).is_dir():
            pytest.skip(f"{given} has no {request.param}")
        return method, pathlib.Path(given) / request.param
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        assert main(["demo", f"--method={request.param}", f"--out={out}"]) == 0
    return method, out / request.param


def _missed(method, folder):
    wanted = [goal for goal in method.goals if goal.table is Table.VIDEOS]
    verdicts = goals.judge(wanted, folder)
    print(*verdicts, sep="\n")
    return {item.goal.what for item in verdicts if not item.met}


def test_the_demo_meets_them(walked):
    assert _missed(*walked) == set()


def test_an_untrained_renderer_misses_them(walked, tmp_path):
    """Its videos in the place of the model's: against themselves training has gained nothing."""
    method, demo = walked
    pairs = demo / "held_out"
    shutil.copytree(pairs / "untrained", tmp_path / "again")
    api.evaluate_videos(
        {"model": tmp_path / "again", "untrained": pairs / "untrained"},
        truth=pairs / "truth",
        out=tmp_path / "scores_video",
        clips=pairs / "clips.csv",
        workers=2,
    )
    assert _missed(method, tmp_path) >= TRAINING
