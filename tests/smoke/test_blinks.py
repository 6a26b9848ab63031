"""Blinks of sinha2020, judged on clips on which no setting was chosen, over five training seeds.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo --method=sinha2020`) the demo runs here
first. TALKFACE_BLINKS=DIR keeps the five trained stages there, and finds them again.
"""

import os
import pathlib

import numpy as np
import pytest

from talkface_jax.capabilities import BLINK_GOALS
from talkface_jax.cli import demo as walk
from talkface_jax.cli.main import main
from talkface_jax.data.pipeline import open_dataset
from talkface_jax.evaluate import blink_page, blinks, goals, shards
from talkface_jax.export.load import load_bundle
from talkface_jax.synthesize.run import build_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEEDS = range(5)
RATE, DURATION, VARIATION, NEARER = (goal.what for goal in BLINK_GOALS)


@pytest.fixture(scope="module")
def judged(sinha_demo, tmp_path_factory):
    """Closure curves of the clips that judge: those of the demo, made here where it has none."""
    other = sinha_demo / "data_blinks"
    if not other.is_dir():
        other = tmp_path_factory.mktemp("other")
        counts = (f"--clips=1 --test-clips={walk.BLINK_CLIPS} --seed={walk.BLINK_SEED}").split()
        assert main(["prepare", "--dataset=synthetic", *counts, f"--out={other}"]) == 0
    return shards.blink_curves(open_dataset(str(other), "test"))


@pytest.fixture(scope="module")
def constant(sinha_demo):
    train = open_dataset(str(sinha_demo / "data"), "train")
    return blinks.ConstantBlinker.of(shards.blink_curves(train).curves)


@pytest.fixture(scope="module")
def chains(sinha_demo, repository, tmp_path_factory):
    """By training seed a chain with the blinks that it learned; the config is the demo's."""
    given = os.environ.get("TALKFACE_BLINKS")
    out = pathlib.Path(given) if given else tmp_path_factory.mktemp("blinks")
    config = repository / "configs" / "sinha2020" / "blink.py"
    data, trained = f"--config.data.directory={sinha_demo / 'data'}", sinha_demo / "sinha2020"
    bundles = tmp_path_factory.mktemp("bundles")
    found = {}
    for seed in SEEDS:
        flags = [f"--workdir={out / f'blink{seed}'}", data, f"--config.seed={seed}"]
        assert main(["train", f"--config={config}:tiny", *flags]) == 0
        stages = {"motion": trained / "motion", "render": trained / "render"}
        flags = [f"--{stage}={folder}" for stage, folder in stages.items()]
        flags += [f"--blink={out / f'blink{seed}'}", f"--out={bundles / str(seed)}"]
        assert main(["export", *flags]) == 0
        found[seed] = build_chain(load_bundle(bundles / str(seed)))
    return found


def _judge(generate, judged, constant, folder, name):
    """The report on a generator, whose numbers are printed, and the goals that it misses."""
    found = blinks.evaluate_blinks(
        generate, judged.curves, speakers=judged.speakers, constant=constant
    )
    blink_page.write_report(found, folder / name / "scores_blinks")
    made, model = found.sequences, found.comparisons[blinks.MODEL]
    other, difference = found.comparisons[blinks.CONSTANT].distance, found.difference
    ratios = np.divide(found.draws[blinks.MODEL], found.draws[blinks.CONSTANT])
    print(
        f"{name}: {made.rate:.3f} a second of {made.duration:.3f} s, intervals "
        f"{made.interval:.2f} ± {made.interval_deviation:.2f} s; distance "
        f"{model.distance.value:.3f} [{model.distance.low:.3f}, {model.distance.high:.3f}], "
        f"p {model.p_value:.3f}; constant {other.value:.3f} [{other.low:.3f}, {other.high:.3f}], "
        f"greater by {difference.value:.3f} [{difference.low:.3f}, {difference.high:.3f}]; "
        f"draws {np.round(ratios, 2)}"
    )
    verdicts = goals.judge(BLINK_GOALS, folder / name)
    return found, [item.goal.what for item in verdicts if not item.met]


def test_training_seeds_keep_the_goals(chains, judged, constant, tmp_path):
    """Three of five do, the demo's among them. All are nearer to tracked blinks than the constant
    blinker; the rate of one (0.21 a second) and the variation of another (0.18 s) fall short."""
    print(f"\n{len(judged.curves)} clips, {sum(map(len, judged.curves)) / 25:.0f} s")
    kept = {}
    for seed, chain in chains.items():
        found, missed = _judge(
            lambda draw, frames, chain=chain: chain.blinks(frames, seed=draw),
            judged,
            constant,
            tmp_path,
            f"seed {seed}",
        )
        assert found.nearer and DURATION not in missed, (seed, missed)
        kept[seed] = not missed
    assert kept[0] and sum(kept.values()) >= 3, kept


def test_constant_never_and_over_blinkers_miss_them(chains, judged, constant, tmp_path):
    def learned(seed, frames):
        return chains[0].blinks(frames, seed=seed)

    def paced(frames_apart):
        blinker = blinks.ConstantBlinker(frames_apart, constant.shape, constant.before)
        return lambda seed, frames: blinker(seed + 7000, frames)

    generators = {
        "constant": (paced(constant.interval), [VARIATION, NEARER]),
        "metronome of 2.4 s": (paced(60.0), [VARIATION]),
        "never": (lambda seed, frames: np.zeros(frames), [RATE, DURATION, VARIATION, NEARER]),
        "over": (
            lambda seed, frames: np.maximum(learned(seed, frames), learned(seed + 50_000, frames)),
            [RATE],
        ),
    }
    print()
    for name, (generate, expected) in generators.items():
        _, missed = _judge(generate, judged, constant, tmp_path, name)
        assert set(expected) <= set(missed), (name, missed)
