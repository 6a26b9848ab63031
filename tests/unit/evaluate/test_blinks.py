"""The two-sample test of blinks tells good generators from bad ones."""

import dataclasses
import json

import numpy as np
import pytest

from talkface_jax.errors import RecordError
from talkface_jax.evaluate import blink_page
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
    assert report.sequences.seconds == 60 * 10.0


@pytest.mark.parametrize(
    "generate",
    [lambda seed, frames: np.zeros(frames), lambda seed, frames: CONSTANT(seed + 7000, frames)],
    ids=["none", "constant"],
)
def test_bad_generators_fail(generate):
    found = evaluate.evaluate_blinks(
        generate, REAL, constant=CONSTANT, sequences=20, permutations=99
    )
    assert not found.nearer and not found.passed
    assert found.comparisons[evaluate.MODEL].p_value < 0.05


def test_generated_tracks_are_cut_to_the_lengths_of_the_clips(report):
    real, made = report.rows[evaluate.REAL], report.rows[evaluate.MODEL]
    assert made.clips % real.clips == 0 and made.clips >= 8 * real.clips
    assert made.seconds / made.clips == pytest.approx(real.seconds / real.clips)
    # Short clips cannot hold the long intervals of the sequences that they are cut from.
    assert made.interval < report.sequences.interval - 0.1


def test_verdicts_need_rate_duration_and_both_p_values(report):
    slow = dataclasses.replace(report.sequences, rate=0.2)
    assert not dataclasses.replace(report, sequences=slow).natural
    long = dataclasses.replace(report.sequences, duration=0.5)
    assert not dataclasses.replace(report, sequences=long).natural
    wide = {
        name: dataclasses.replace(item, distance=Interval(item.distance.value, 0.0, 2.0, 32))
        for name, item in report.comparisons.items()
    }
    unsure = dataclasses.replace(report, comparisons=wide)
    assert unsure.nearer
    for name, p_value in ((evaluate.MODEL, 0.01), (evaluate.CONSTANT, 0.3)):
        changed = {**wide, name: dataclasses.replace(wide[name], p_value=p_value)}
        assert not dataclasses.replace(report, comparisons=changed).nearer
        # With intervals apart no p-value is needed: of many clips none is exactly alike.
        for row, ends in ((evaluate.MODEL, (0.0, 0.1)), (evaluate.CONSTANT, (0.2, 0.9))):
            changed[row] = dataclasses.replace(changed[row], distance=Interval(0.1, *ends, 160))
        assert dataclasses.replace(report, comparisons=changed).nearer
    assert not dataclasses.replace(unsure, difference=Interval(-0.1, -0.5, 0.3, 32)).nearer


def test_report_is_written_as_json_and_as_one_page(report, tmp_path):
    blink_page.write_report(report, tmp_path)
    stored = json.loads((tmp_path / "blinks.json").read_text())
    assert stored["schema"] == 1 and stored["passed"] is True
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
