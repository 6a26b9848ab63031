"""What the goals of the mp4s prove: the demo's renderer meets them, the untrained one does not.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo`, of the methods that lie there) the demo
of every method runs here first.
"""

import shutil

import pytest

from talkface_jax import api
from talkface_jax.capabilities import Table
from talkface_jax.evaluate import goals
from talkface_jax.methods import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TRAINING = {
    "rendered mouths, PSNR in dB, trained - untrained",
    "rendered mouths, LPIPS, trained / untrained",
}
"""What only training can reach."""


def _missed(method, folder):
    wanted = [goal for goal in registry.declaration(method).goals if goal.table is Table.VIDEOS]
    verdicts = goals.judge(wanted, folder)
    print(*verdicts, sep="\n")
    return {item.goal.what for item in verdicts if not item.met}


def test_the_demo_meets_them(walked):
    method, demo = walked
    assert _missed(method, demo / method) == set()


def test_an_untrained_renderer_misses_them(walked, tmp_path):
    """Its videos in the place of the model's: against themselves training has gained nothing."""
    method, demo = walked
    pairs = demo / method / "held_out"
    shutil.copytree(pairs / "untrained", tmp_path / "again")
    api.evaluate_videos(
        {"model": tmp_path / "again", "untrained": pairs / "untrained"},
        truth=pairs / "truth",
        out=tmp_path / "scores_video",
        clips=pairs / "clips.csv",
        workers=2,
    )
    assert _missed(method, tmp_path) >= TRAINING
