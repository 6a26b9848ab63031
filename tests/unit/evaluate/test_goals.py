"""Goals against made-up reports: each kind met, each kind missed, and how they are told."""

import json

import pytest

from talkface_jax.capabilities import BLINK_GOALS, Goal, Paired, Table
from talkface_jax.evaluate import goals

ROWS = {
    "model": {"lip_distance": (1.0, 0.9, 1.1), "lag": (-2.0, -3.0, 0.0), "bias": (0.2, 0.1, 0.3)},
    "still": {"lip_distance": (2.0, 1.8, 2.2), "lag": (0.5, 0.0, 1.0)},
    # As large as that of "still", but so uncertain that it reaches down to the model's.
    "vague": {"lip_distance": (2.0, 1.1, 2.9)},
    "worse": {"bias": (0.05, 0.01, 0.09)},
    "near": {"bias": (0.15, 0.05, 0.25)},
}


def _interval(value, low, high):
    return {"value": value, "low": low, "high": high, "n": 8}


COMPARISONS = {
    # The model's intervals and these rows' overlap; clip by clip it is better, but for "alike".
    "vague": {
        "lip_distance": {
            "ratio": _interval(0.5, 0.4, 0.7),
            "difference": _interval(-1.0, -1.5, -0.4),
        }
    },
    "near": {
        "bias": {"ratio": _interval(1.3, 1.2, 1.4), "difference": _interval(0.05, 0.02, 0.08)}
    },
    "alike": {
        "bias": {"ratio": _interval(1.3, 0.9, 1.7), "difference": _interval(0.05, -0.02, 0.12)},
        "lip_distance": {
            "ratio": _interval(0.5, 0.4, 1.0),
            "difference": _interval(-1.0, -1.5, 0.0),
        },
        "lag": {"ratio": _interval(None, None, None), "difference": _interval(1.0, None, None)},
    },
}


@pytest.fixture
def folder(tmp_path):
    rows = {
        row: {
            "metrics": {
                name: dict(zip(("value", "low", "high"), numbers, strict=True))
                for name, numbers in metrics.items()
            }
        }
        for row, metrics in ROWS.items()
    }
    (tmp_path / "scores_motion").mkdir()
    (tmp_path / "scores_motion" / "scores.json").write_text(
        json.dumps({"rows": rows, "comparisons": {"model": COMPARISONS}})
    )
    return tmp_path


def _judge(folder, number, table=Table.LANDMARKS, **bounds):
    (verdict,) = goals.judge([Goal("it", table, number, **bounds)], folder)
    return verdict


@pytest.mark.parametrize(
    ("number", "bounds", "told"),
    [
        ("bias", {"most": 0.2}, "met    it: 0.20 (wanted <= 0.2)"),
        ("bias", {"most": 0.19}, "MISSED it: 0.20 (wanted <= 0.19)"),
        ("bias", {"least": 0.2}, "met    it: 0.20 (wanted >= 0.2)"),
        ("bias", {"least": 0.21}, "MISSED it: 0.20 (wanted >= 0.21)"),
        ("bias", {"least": 0.1, "most": 0.3}, "met    it: 0.20 (wanted 0.1 to 0.3)"),
        ("bias", {"least": 0.25, "most": 0.3}, "MISSED it: 0.20 (wanted 0.25 to 0.3)"),
        ("bias", {"least": 0.1, "most": 0.15}, "MISSED it: 0.20 (wanted 0.1 to 0.15)"),
        # Its sign does not count only where that is said.
        ("lag", {"most": 1.0}, "met    it: -2.00 (wanted <= 1)"),
        ("lag", {"most": 2.0, "either_way": True}, "met    it: -2.00 (wanted within 2)"),
        ("lag", {"most": 1.0, "either_way": True}, "MISSED it: -2.00 (wanted within 1)"),
        ("lag", {"most": 0.5, "row": "still"}, "met    it: 0.50 (wanted <= 0.5)"),
        (
            "lip_distance",
            {"most": 0.5, "over": "still"},
            "met    it: 0.50 (wanted <= 0.5, intervals apart)",
        ),
        (
            "lip_distance",
            {"most": 0.49, "over": "still"},
            "MISSED it: 0.50 (wanted <= 0.49, intervals apart)",
        ),
        # The ratio would do; the intervals touch.
        (
            "lip_distance",
            {"most": 0.5, "over": "vague"},
            "MISSED it: 0.50 (wanted <= 0.5, intervals apart)",
        ),
    ],
)
def test_numbers_of_a_table_of_scores(folder, number, bounds, told):
    verdict = _judge(folder, number, **bounds)
    assert str(verdict) == told and verdict.met == told.startswith("met ")


@pytest.mark.parametrize(
    ("over", "apart"), [("worse", True), ("near", False)], ids=["apart", "overlap"]
)
def test_a_least_ratio_wants_the_row_above_the_other(folder, over, apart):
    verdict = _judge(folder, "bias", least=1.2, over=over)
    assert verdict.met == apart


@pytest.mark.parametrize(
    ("number", "bounds", "told"),
    [
        # Marginal intervals that overlap do not matter to what is paired.
        (
            "lip_distance",
            {"most": 0.6, "over": "vague", "paired": Paired.RATIO},
            "met    it: 0.50 (wanted <= 0.6, paired interval beyond 1)",
        ),
        (
            "lip_distance",
            {"most": -0.9, "over": "vague", "paired": Paired.DIFFERENCE},
            "met    it: -1.00 (wanted <= -0.9, paired interval beyond 0)",
        ),
        (
            "lip_distance",
            {"most": 0.45, "over": "vague", "paired": Paired.RATIO},
            "MISSED it: 0.50 (wanted <= 0.45, paired interval beyond 1)",
        ),
        (
            "bias",
            {"least": 0.04, "over": "near", "paired": Paired.DIFFERENCE},
            "met    it: 0.05 (wanted >= 0.04, paired interval beyond 0)",
        ),
        (
            "bias",
            {"least": 1.2, "over": "near", "paired": Paired.RATIO},
            "met    it: 1.30 (wanted >= 1.2, paired interval beyond 1)",
        ),
        # Within the bound, but the interval holds what equal rows give, or touches it.
        (
            "bias",
            {"least": 0.04, "over": "alike", "paired": Paired.DIFFERENCE},
            "MISSED it: 0.05 (wanted >= 0.04, paired interval beyond 0)",
        ),
        (
            "bias",
            {"least": 1.2, "over": "alike", "paired": Paired.RATIO},
            "MISSED it: 1.30 (wanted >= 1.2, paired interval beyond 1)",
        ),
        (
            "lip_distance",
            {"most": 0.6, "over": "alike", "paired": Paired.RATIO},
            "MISSED it: 0.50 (wanted <= 0.6, paired interval beyond 1)",
        ),
        # The interval lies beyond, on the wrong side.
        (
            "bias",
            {"most": 1.5, "over": "near", "paired": Paired.RATIO},
            "MISSED it: 1.30 (wanted <= 1.5, paired interval beyond 1)",
        ),
        # There is no number, or no interval.
        (
            "lag",
            {"most": 2.0, "over": "alike", "paired": Paired.RATIO},
            "MISSED it: none (wanted <= 2, paired interval beyond 1)",
        ),
        (
            "lag",
            {"most": 2.0, "over": "alike", "paired": Paired.DIFFERENCE},
            "MISSED it: 1.00 (wanted <= 2, paired interval beyond 0)",
        ),
        (
            "bias",
            {"least": 0.1, "over": "gone", "paired": Paired.RATIO},
            "MISSED it: not measured, the report has no gone "
            "(wanted >= 0.1, paired interval beyond 1)",
        ),
        (
            "lip_distance",
            {"most": 0.6, "over": "vague", "row": "still", "paired": Paired.RATIO},
            "MISSED it: not measured, the report has no still "
            "(wanted <= 0.6, paired interval beyond 1)",
        ),
    ],
)
def test_paired_goals_read_the_comparisons(folder, number, bounds, told):
    verdict = _judge(folder, number, **bounds)
    assert str(verdict) == told and verdict.met == told.startswith("met ")


BLINKS = {"sequences": {"rate": 0.33, "duration": 0.2, "interval_deviation": 0.4}, "nearer": True}


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"rate": 0.27}, [0]),
        ({"rate": 0.46}, [0]),
        ({"duration": 0.09}, [1]),
        ({"duration": 0.41}, [1]),
        ({"interval_deviation": 0.19}, [2]),
        ({"rate": 0.0, "duration": None, "interval_deviation": None}, [0, 1, 2]),
        ({"nearer": False}, [3]),
    ],
)
def test_blinks_are_found_by_their_path_and_judged(tmp_path, changes, missed):
    _write_blinks(tmp_path, changes)
    verdicts = goals.judge(BLINK_GOALS, tmp_path)
    assert [index for index, item in enumerate(verdicts) if not item.met] == missed
    assert [str(item).startswith("MISSED") for item in verdicts] == [k in missed for k in range(4)]
    nearer = str(verdicts[3]).split(": ")[1]
    assert nearer == f"{'no' if 3 in missed else 'yes'} (wanted yes)"


def _write_blinks(folder, changes):
    changed = {**changes}
    nearer = changed.pop("nearer", True)
    report = {"sequences": {**BLINKS["sequences"], **changed}, "nearer": nearer}
    (folder / "scores_blinks").mkdir()
    (folder / "scores_blinks" / "blinks.json").write_text(json.dumps(report))


def test_a_number_that_there_is_none_of_is_missed(tmp_path):
    _write_blinks(tmp_path, {"rate": 0.3, "duration": None})
    told = [str(item) for item in goals.judge(BLINK_GOALS, tmp_path)]
    assert told[0] == "met    blinks a second: 0.30 (wanted 0.28 to 0.45)"
    assert told[1] == "MISSED seconds of a blink: none (wanted 0.1 to 0.4)"


def test_a_goal_whose_report_was_not_written_is_missed_and_the_others_are_judged(folder):
    wanted = [
        Goal("drawn", Table.VIDEOS, "bias", least=0.0),
        Goal("said", Table.LANDMARKS, "bias", least=0.0),
        *BLINK_GOALS,
    ]
    drawn, said, *blinks = goals.judge(wanted, folder)
    assert said.met and not any(item.met for item in (drawn, *blinks))
    path = folder / "scores_video" / "scores.json"
    assert str(drawn) == f"MISSED drawn: not measured, {path} was not written (wanted >= 0)"
    assert all(f"{folder / 'scores_blinks' / 'blinks.json'} was not" in str(x) for x in blinks)


def test_verdicts_stand_in_the_order_of_the_goals(folder):
    wanted = [Goal(str(k), Table.LANDMARKS, "bias", most=k / 10) for k in (1, 3, 0, 2)]
    verdicts = goals.judge(iter(wanted), folder)
    assert [(item.goal.what, item.met) for item in verdicts] == [
        ("1", False),
        ("3", True),
        ("0", False),
        ("2", True),
    ]
