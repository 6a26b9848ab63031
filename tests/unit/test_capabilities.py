"""Declarations: the value of a flag, what a method refuses, and that declarations hang together."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.capabilities import (
    BLINK_DURATION,
    BLINK_RATE,
    REFERENCES,
    SEED,
    Control,
    Declaration,
    Table,
    mouth_goals,
)
from talkface_jax.errors import ConfigError
from talkface_jax.methods import registry

MOODS = ("calm", "glad")


def _mood(text):
    if text not in MOODS:
        raise ValueError(f"one of {', '.join(MOODS)}")
    return MOODS.index(text)


MOOD = Control("inner_mood", "how the face feels", parse=_mood)
OFFSET = Control("offset", "any finite number")


@pytest.mark.parametrize(
    ("control", "text", "value"),
    [
        (BLINK_RATE, "0", 0.0),
        (BLINK_RATE, "0.25", 0.25),
        (BLINK_DURATION, "1e-3", 0.001),
        (SEED, "0", 0),
        (REFERENCES, "1", 1),
        (OFFSET, "-7", -7.0),
        (MOOD, "glad", 1),
    ],
)
def test_a_flags_text_is_read(control, text, value):
    got = control.read(text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("control", "text", "said"),
    [
        (BLINK_RATE, "-1", "--blink-rate must be at least 0, but is -1; give another"),
        (BLINK_RATE, "nan", "--blink-rate must be at least 0, but is nan; give another"),
        (BLINK_RATE, "inf", "--blink-rate must be at least 0, but is inf; give another"),
        (BLINK_RATE, "often", "--blink-rate must be a number, not often; give another"),
        (BLINK_DURATION, "0", "--blink-duration must be above 0, but is 0; give another"),
        (SEED, "-1", "--seed must be at least 0, but is -1; give another"),
        (SEED, "1.5", "--seed must be a whole number, not 1.5; give another"),
        (REFERENCES, "0", "--references must be at least 1, but is 0; give another"),
        (REFERENCES, "", "--references must be a whole number, not ; give another"),
        (OFFSET, "nan", "--offset must be finite, but is nan; give another"),
        (MOOD, "grim", "--inner-mood must be one of calm, glad, not grim; give another"),
    ],
)
def test_a_flags_text_is_refused(control, text, said):
    with pytest.raises(ConfigError) as refused:
        control.read(text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        (BLINK_RATE, np.float32(-1), "must be at least 0, but is -1"),
        (BLINK_RATE, "often", "must be a number, not 'often'"),
        (BLINK_RATE, None, "must be a number, not None"),
        (SEED, np.int64(-3), "must be at least 0, but is -3"),
        (SEED, 1.5, "must be a whole number, not 1.5"),
        (REFERENCES, np.int32(0), "must be at least 1, but is 0"),
    ],
)
def test_values_from_python_are_refused_too(control, value, said):
    with pytest.raises(ConfigError) as refused:
        control.check(value)
    assert str(refused.value) == f"{control.flag} {said}; give another"


def test_values_from_python_pass():
    for control, value in ((BLINK_RATE, 1), (BLINK_RATE, np.float32(0)), (SEED, np.int64(3))):
        control.check(value)
    # What a control of another kind takes is its own.
    MOOD.check("anything")


TOY = Declaration("toy", "nobody's", {"only": "a:b"}, controls=(BLINK_RATE, MOOD))


def test_a_method_takes_what_it_declares():
    TOY.check_controls({})
    TOY.check_controls({"blink_rate": 0.0, "inner_mood": 1})


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        (
            {"blink_rate": 0.3, "blink_duration": 0.2},
            "toy has no --blink-duration; leave it out (it takes --blink-rate, --inner-mood)",
        ),
        ({"blink_rate": -0.5}, "--blink-rate must be at least 0, but is -0.5; give another"),
    ],
)
def test_a_method_refuses_what_it_does_not_declare_and_what_is_out_of_range(controls, said):
    with pytest.raises(ConfigError) as refused:
        TOY.check_controls(controls)
    assert str(refused.value) == said


def test_a_method_without_controls_says_so():
    with pytest.raises(ConfigError, match=r"^toy has no --seed; .* \(it takes no controls\)$"):
        dataclasses.replace(TOY, controls=()).check_controls({"seed": 1})


def test_controls_of_one_name_are_one_control():
    """The command line has one flag for all methods that declare it."""
    found = {}
    for name, item in registry.methods().items():
        assert len({control.name for control in item.controls}) == len(item.controls), name
        for control in item.controls:
            assert found.setdefault(control.name, control) == control, name


def test_mouth_goals_are_those_asked_for():
    goals = mouth_goals(static=0.7, shifted=0.75, correlation=0.65)
    ratios = {goal.over: goal.most for goal in goals if goal.over}
    assert ratios == {"static-mouth": 0.7, "shifted-audio": 0.75}
    least = {(goal.table, goal.number): goal.least for goal in goals if goal.least is not None}
    assert least == {
        (Table.LANDMARKS, "opening_correlation"): 0.65,
        (Table.LANDMARKS, "deviation"): 0.6,
        (Table.VIDEOS, "opening_correlation"): 0.5,
        (Table.VIDEOS, "deviation"): 0.5,
    }
    with_silence = mouth_goals(static=0.7, shifted=0.75, no_audio=0.85, correlation=0.65)
    (more,) = set(with_silence) - set(goals)
    assert (more.over, more.most, len(with_silence)) == ("no-audio", 0.85, 9)
