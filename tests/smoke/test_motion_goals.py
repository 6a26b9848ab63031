"""What the goals of the landmark table prove: the demo's network meets them, and neither a linear
map of the sound nor a network of one step does.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo`, of the methods that lie there) the
demo of every method runs here first.
"""

import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.capabilities import Table
from talkface_jax.data.pipeline import open_dataset
from talkface_jax.evaluate import goals, landmarks, report, scores, shards
from talkface_jax.export.load import load_bundle
from talkface_jax.landmarks import schemes
from talkface_jax.methods import registry
from talkface_jax.records import Motion
from talkface_jax.synthesize.run import build_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MISSED = {
    "lips, model / static-mouth",
    "lips, model / silence",
    "lips, model / ridge",
    "mouth-opening correlation",
    "opening deviation, predicted / true",
}
"""What neither may reach."""


@pytest.fixture(scope="module")
def chain(walked):
    method, demo = walked
    return build_chain(load_bundle(demo / method / "bundle"))


@pytest.fixture(scope="module")
def linear(walked, chain):
    return shards.fit_ridge(open_dataset(walked[1] / "data", "train"), chain)


class LinearChain:
    """A method's chain with ridge regression in the place of its motion network."""

    def __init__(self, chain, linear):
        self.prepare, self.linear = chain.prepare, linear

    def predict_motion(self, track, *, samples, references=None):
        face = self.prepare(track, references=references)
        points = face.geometry.points[..., :2]
        content = schemes.get_scheme(self.linear.scheme).groups["content"]
        made = np.array(points)
        made[:, content] = self.linear.predict(
            points, references=points[face.order], samples=samples
        )
        return Motion(self.linear.scheme, made)


def _missed(walked, chain, linear, folder):
    """The goals of the landmark table that a chain misses, and its scores."""
    method, demo = walked
    failures = []
    dataset = open_dataset(demo / "data", "test")
    cases = shards.motion_cases(dataset, chain, failures=failures, linear=linear, noise_clips=0)
    found = landmarks.evaluate_motion(cases, failures=failures, command="test")
    assert not found.failures
    report.write_report(found, folder / "scores_motion")
    wanted = [x for x in registry.declaration(method).goals if x.table is Table.LANDMARKS]
    verdicts = goals.judge(wanted, folder)
    print(*verdicts, sep="\n")
    return {item.goal.what for item in verdicts if not item.met}, found


def test_the_demos_network_meets_the_goals(walked, chain, linear, tmp_path):
    assert _missed(walked, chain, linear, tmp_path)[0] == set()


def test_a_linear_map_of_the_sound_misses_them(walked, chain, linear, tmp_path):
    missed, found = _missed(walked, LinearChain(chain, linear), linear, tmp_path)
    assert missed >= MISSED
    lips = [found.rows[row].metrics["lip_distance"].value for row in (scores.MODEL, scores.RIDGE)]
    assert lips[0] == pytest.approx(lips[1], rel=1e-3)


def test_a_network_of_one_step_misses_them(walked, linear, tmp_path, repository):
    method, demo = walked
    experiment = api.load_experiment(
        f"{repository}/configs/{method}/motion.py:tiny",
        [f"data.directory={demo / 'data'}", "train.steps=1", "train.eval_every=0"],
    )
    api.train(experiment, workdir=tmp_path / "motion")
    stages = {stage: demo / method / stage for stage in registry.declaration(method).chained}
    api.export({**stages, "motion": tmp_path / "motion"}, out=tmp_path / "bundle")
    untrained = build_chain(load_bundle(tmp_path / "bundle"))
    assert _missed(walked, untrained, linear, tmp_path)[0] >= MISSED
