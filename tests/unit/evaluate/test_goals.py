"""Goals against made-up reports: each kind met, each kind missed, and how they are told."""

import json

import pytest

from talkface_jax.capabilities import BLINK_GOALS, Goal, Table
from talkface_jax.evaluate import goals

ROWS = {
    "model": {"lip_distance": (1.0, 0.9, 1.1), "lag": (-2.0, -3.0, 0.0), "bias": (0.2, 0.1, 0.3)},
    "still": {"lip_distance": (2.0, 1.8, 2.2), "lag": (0.5, 0.0, 1.0)},
    # As large as that of "still", but so uncertain that it reaches down to the model's.
    "vague": {"lip_distance": (2.0, 1.1, 2.9)},
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
    (tmp_path / "scores_motion" / "scores.json").write_text(json.dumps({"rows": rows}))
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
