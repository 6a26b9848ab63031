"""The two-sample test of blinks tells good generators from bad ones."""

import dataclasses
import json

import numpy as np
import pytest

from talkface_jax.capabilities import BLINK_GOALS
from talkface_jax.errors import RecordError
from talkface_jax.evaluate import blink_page, goals
from talkface_jax.evaluate import blinks as evaluate
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.landmarks import blinks
from talkface_jax.metrics import blink as metric

PULSE = np.array([0.3, 1.1, 1.2, 1.2, 0.9, 0.3])
LENGTHS = np.random.default_rng(0).integers(70, 125, 40)


def natural(seed, frames):
    """Intervals that are uniform between 1.8 and 3.9 s, in random phase, and noise."""
    rng = np.random.default_rng(seed)
    curve, start = rng.normal(0, 0.03, frames), -100 + rng.uniform(0, 100)
    while start < frames:
        first = round(start)
        for offset, value in enumerate(PULSE):
            if 0 <= first + offset < frames:
                curve[first + offset] += value
        start += rng.uniform(45, 97.5)
    return curve


REAL = [natural(1000 + k, int(length)) for k, length in enumerate(LENGTHS)]
CONSTANT = evaluate.ConstantBlinker.of([natural(2000 + k, 100) for k in range(80)])


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Enough for verdicts, a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.bootstrap, "RESAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def report():
    return evaluate.evaluate_blinks(
        natural, REAL, constant=CONSTANT, sequences=60, permutations=199
    )


def test_the_constant_blinker_has_the_mean_interval_and_blink_in_random_phase():
    curves = [CONSTANT(seed, 500) for seed in range(40)]
    found = metric.summarise([metric.measure(curve) for curve in curves])
    assert found.rate == pytest.approx(25 / 71.25, rel=0.12)
    assert found.interval_deviation < 0.05
    true = metric.summarise([metric.measure(curve) for curve in REAL])
    assert abs(found.duration - true.duration) < 0.005
    starts = [blinks.find_blinks(curve)[0].start for curve in curves]
    assert np.ptp(starts) > 0.7 * CONSTANT.interval
    with pytest.raises(RecordError, match="no whole blink to compare with; prepare more"):
        evaluate.ConstantBlinker.of([np.zeros(50)])


def test_the_natural_process_passes_and_the_constant_one_is_told_apart(report):
    model, constant = report.comparisons[evaluate.MODEL], report.comparisons[evaluate.CONSTANT]
    assert model.p_value > 0.05 > constant.p_value
    assert model.distance.value < constant.distance.value
    assert report.difference.value > 0 and report.natural and report.nearer and report.passed
    assert report.sequences.clips >= 60
    assert report.sequences.seconds == pytest.approx(10.0 * report.sequences.clips)


def metronome(seconds):
    """The constant blinker at another pace, with phases of its own."""
    paced = dataclasses.replace(CONSTANT, interval=25 * seconds)
    return lambda seed, frames: paced(seed + 7000, frames)


def over(seed, frames):
    """Twice as many blinks as people make."""
    return np.maximum(natural(seed, frames), natural(seed + 50_000, frames))


def under(seed, frames):
    """Every other draw without a blink."""
    return natural(seed, frames) if seed % 2 else np.zeros(frames)


RATE, DURATION, VARIATION, NEARER = (goal.what for goal in BLINK_GOALS)


@pytest.mark.parametrize(
    ("generate", "missed"),
    [
        (natural, []),
        (lambda seed, frames: np.zeros(frames), [RATE, DURATION, VARIATION, NEARER]),
        (metronome(CONSTANT.interval / 25), [VARIATION, NEARER]),
        # At the pace of the intervals that the clips can hold.
        (metronome(2.6), [VARIATION, NEARER]),
        (over, [RATE, NEARER]),
        (under, [RATE, NEARER]),
        (lambda seed, frames: 0.4 * natural(seed, frames), [RATE, NEARER]),
    ],
    ids=["natural", "never", "constant", "metronome", "over", "under", "half-closed"],
)
def test_bad_generators_miss_the_goals(generate, missed, tmp_path):
    found = evaluate.evaluate_blinks(
        generate, REAL, constant=CONSTANT, sequences=20, permutations=9
    )
    blink_page.write_report(found, tmp_path / "scores_blinks")
    told = [item.goal.what for item in goals.judge(BLINK_GOALS, tmp_path) if not item.met]
    assert told == missed and found.passed == (not missed)


@pytest.mark.parametrize("world", range(3))
def test_another_phase_of_the_constant_blinker_is_never_nearer(world):
    """Though the interval of the difference, of the clips alone, lies above 0 in some worlds."""
    real = [natural(5000 + 100 * world + k, int(length)) for k, length in enumerate(LENGTHS)]
    found = evaluate.evaluate_blinks(
        metronome(CONSTANT.interval / 25),
        real,
        constant=CONSTANT,
        sequences=20,
        permutations=9,
        seed=1000 * world,
    )
    assert not found.nearer
    assert abs(found.difference.value) < 0.1 * found.comparisons[evaluate.CONSTANT].distance.value


def test_generated_tracks_are_cut_to_the_lengths_of_the_clips(report):
    real, made = report.rows[evaluate.REAL], report.rows[evaluate.MODEL]
    assert made.clips % real.clips == 0 and made.clips >= 8 * real.clips
    assert made.seconds / made.clips == pytest.approx(real.seconds / real.clips)
    # Short clips cannot hold the long intervals of the sequences that they are cut from.
    assert made.interval < report.sequences.interval - 0.1


def test_verdicts_need_rate_duration_variation_a_sure_difference_and_every_draw(report):
    for change in ({"rate": 0.2}, {"duration": 0.5}, {"interval_deviation": 0.19}):
        made = dataclasses.replace(report.sequences, **change)
        changed = dataclasses.replace(report, sequences=made)
        assert not changed.natural and changed.nearer and not changed.passed
    unsure = dataclasses.replace(report, difference=Interval(0.9, -0.01, 1.5, 32))
    assert not unsure.nearer
    far = {name: [*values] for name, values in report.draws.items()}
    far[evaluate.MODEL][3] = 0.51 * far[evaluate.CONSTANT][3]
    assert not dataclasses.replace(report, draws=far).nearer
    far[evaluate.MODEL][3] = 0.49 * far[evaluate.CONSTANT][3]
    assert dataclasses.replace(report, draws=far).nearer


def test_draws_have_noise_of_their_own(report):
    for name, distances in report.draws.items():
        assert len(set(distances)) == evaluate.DRAWS == 5
        whole = report.comparisons[name].distance.value
        assert min(distances) < whole < max(distances) or whole < min(distances)
    asked = []

    def generate(seed, frames):
        asked.append(seed)
        return natural(seed, frames)

    evaluate.evaluate_blinks(generate, REAL, constant=CONSTANT, sequences=20, permutations=9)
    assert len(asked) == len(set(asked))


def test_report_is_written_as_json_and_as_one_page(report, tmp_path):
    blink_page.write_report(report, tmp_path)
    stored = json.loads((tmp_path / "blinks.json").read_text())
    assert stored["schema"] == 2 and stored["passed"] is True
    assert stored["rows"]["model"]["rate"] == report.rows["model"].rate
    page = (tmp_path / "blinks.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4 and "http" not in page.split("</style>")[1]
    assert f"{report.sequences.rate:.2f} blinks a second" in page
    assert {path.name for path in tmp_path.iterdir()} == {"blinks.json", "blinks.html"}


def test_a_report_that_cannot_be_drawn_leaves_no_half(report, tmp_path):
    undrawable = dataclasses.replace(report, values={"nobody": {}})
    with pytest.raises(KeyError):
        blink_page.write_report(undrawable, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clips_without_blinks_are_refused():
    with pytest.raises(RecordError, match="2 tracked clips hold no blink"):
        evaluate.evaluate_blinks(natural, [np.zeros(80)] * 2, constant=CONSTANT)
