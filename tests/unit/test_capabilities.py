"""Declarations: the value of a flag, what a method refuses, and that declarations hang together."""

import dataclasses

import numpy as np
import pytest

from talkface_jax import emotions
from talkface_jax.capabilities import (
    BLINK,
    BLINK_DURATION,
    COPIED,
    REFERENCES,
    SEED,
    Control,
    Declaration,
    Driven,
    Goal,
    Paired,
    Table,
    motion_goals,
    reenactment_goals,
    video_goals,
)
from talkface_jax.errors import ConfigError
from talkface_jax.evaluate import columns, scores
from talkface_jax.methods import registry
from talkface_jax.ranges import Range

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
        (BLINK, "0", 0.0),
        (BLINK, "0.25", 0.25),
        (BLINK, "auto", "auto"),
        (BLINK, "off", "off"),
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
        (BLINK, "-1", "--blink must be at least 0, but is -1; give another"),
        (BLINK, "nan", "--blink must be a finite number, but is nan; give another"),
        (BLINK, "inf", "--blink must be a finite number, but is inf; give another"),
        (
            BLINK,
            "often",
            "--blink must be auto, off or a number of blinks a second, not often; give another",
        ),
        (BLINK_DURATION, "0", "--blink-duration must be above 0, but is 0; give another"),
        (SEED, "-1", "--seed must be at least 0, but is -1; give another"),
        (SEED, "1.5", "--seed must be a whole number, not 1.5; give another"),
        (REFERENCES, "0", "--references must be at least 1, but is 0; give another"),
        (REFERENCES, "", "--references must be a whole number, not ''; give another"),
        (OFFSET, "nan", "--offset must be a finite number, but is nan; give another"),
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
        (BLINK, np.float32(-1), "must be at least 0, but is -1"),
        (BLINK, [0.5], "must be auto, off or a number of blinks a second, not [0.5]"),
        (BLINK, True, "must be auto, off or a number of blinks a second, not True"),
        (BLINK_DURATION, None, "must be a number, not None"),
        (SEED, np.int64(-3), "must be at least 0, but is -3"),
        (SEED, 1.5, "must be a whole number, not 1.5"),
        (REFERENCES, np.int32(0), "must be at least 1, but is 0"),
    ],
)
def test_values_from_python_are_refused_too(control, value, said):
    with pytest.raises(ConfigError) as refused:
        control.read(value)
    assert str(refused.value) == f"{control.flag} {said}; give another"


def test_values_from_python_pass():
    for control, value in ((BLINK, 1), (BLINK, np.float32(0)), (SEED, np.int64(3))):
        assert control.read(value) == value
    assert BLINK.read("0.5") == 0.5


def _per_frame(given):
    """A level of every frame: an array, or a file of them."""
    return np.loadtxt(given) if isinstance(given, str) else np.asarray(given, float)


LEVELS = Control("level", "how strongly", parse=_per_frame, allowed=Range(least=0, most=2))


def test_numbers_of_an_array_are_all_in_range(tmp_path):
    np.testing.assert_array_equal(LEVELS.read([0, 1.5]), [0, 1.5])
    with pytest.raises(ConfigError, match=r"^--level must be from 0 to 2, but is 9; give another"):
        LEVELS.read(np.array([1.5, 9.0]))
    (tmp_path / "levels.csv").write_text("0.5\n1\n")
    np.testing.assert_array_equal(LEVELS.read(str(tmp_path / "levels.csv")), [0.5, 1])


def test_a_file_that_a_control_cannot_read_is_named(tmp_path):
    path = tmp_path / "none.csv"
    with pytest.raises(ConfigError, match=rf"^--level: {path}.*; give another$"):
        LEVELS.read(str(path))


def test_a_control_is_named_by_an_identifier():
    with pytest.raises(ValueError, match="head-pose"):
        Control("head-pose", "where to look")


TRACK = emotions.EmotionTrack(np.zeros(1), np.zeros((1, 8)))
TOY = Declaration("toy", "nobody's", {"only": "a:b"}, controls=(BLINK, MOOD))


def test_a_method_takes_what_it_declares():
    assert TOY.read_controls({}) == {}
    given = {"blink": "0.25", "inner_mood": "glad"}
    assert TOY.read_controls(given) == {"blink": 0.25, "inner_mood": 1}


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        (
            {"blink": 0.3, "blink_duration": 0.2},
            "toy has no --blink-duration; leave it out (it takes --blink, --inner-mood)",
        ),
        ({"inner-mood": 0.5}, "'inner-mood' is no key; write 'inner_mood'"),
        ({"blink": -0.5}, "--blink must be at least 0, but is -0.5; give another"),
    ],
)
def test_a_method_refuses_what_it_does_not_declare_and_what_is_out_of_range(controls, said):
    with pytest.raises(ConfigError) as refused:
        TOY.read_controls(controls)
    assert str(refused.value) == said


def test_controls_that_do_not_go_together():
    """Refused before a minute is spent on tracking the face."""
    method = registry.declaration("sinha2022")
    assert method.read_controls({"emotion": "happy", "level": 2})["level"] == 2
    for given, words in (
        ({"level": 2}, "--level says nothing without --emotion or --emotion-track; give one too"),
        (
            {"emotion": "happy", "emotion_track": TRACK},
            "--emotion-track and --emotion contradict each other; leave one of them out",
        ),
    ):
        with pytest.raises(ConfigError, match=f"^{words}"):
            method.read_controls(given)


def test_a_method_without_controls_says_so():
    with pytest.raises(ConfigError, match=r"^toy has no --seed; .* \(it takes no controls\)$"):
        dataclasses.replace(TOY, controls=()).read_controls({"seed": 1})


def test_controls_of_one_name_are_read_as_their_own_method_says():
    moods = {"one": ("calm", "glad"), "other": ("angry", "sad")}

    def reader(known):
        def parse(given):
            if given not in known:
                raise ValueError(f"one of {', '.join(known)}")
            return known.index(given)

        return parse

    methods = {
        name: Declaration(name, "", {}, controls=(Control("mood", "", parse=reader(known)),))
        for name, known in moods.items()
    }
    assert methods["one"].read_controls({"mood": "glad"}) == {"mood": 1}
    with pytest.raises(ConfigError, match="must be one of angry, sad, not glad"):
        methods["other"].read_controls({"mood": "glad"})


def test_no_method_declares_a_control_twice():
    for name, item in registry.methods().items():
        assert len({control.name for control in item.controls}) == len(item.controls), name


def test_stages_aside_are_trained_and_in_no_bundle():
    item = Declaration("toy", "", {"motion": "a:b", "judge": "a:c"}, aside=("judge",))
    assert item.chained == ("motion",)


def test_goals_of_landmarks_are_those_asked_for():
    goals = motion_goals(static=0.7, shifted=0.75)
    assert {goal.table for goal in goals} == {Table.LANDMARKS}
    ratios = {goal.over: goal.most for goal in goals if goal.over}
    assert ratios == {"static-mouth": 0.7, "shifted-audio": 0.75, "silence": 0.65, "ridge": 0.75}
    assert all(goal.number == "lip_distance" for goal in goals if goal.over)
    least = {goal.number: goal.least for goal in goals if goal.least is not None}
    assert least == {"opening_correlation": 0.78, "deviation": 0.75}
    others = motion_goals(
        static=0.1, shifted=0.2, silence=0.3, ridge=0.4, correlation=0.5, deviation=0.6
    )
    assert [goal.most for goal in others if goal.over] == [0.1, 0.2, 0.3, 0.4]
    assert [goal.least for goal in others if goal.least is not None] == [0.5, 0.6]


def test_goals_of_videos_are_those_of_videos():
    assert {goal.table for goal in video_goals()} == {Table.VIDEOS}
    cases = (video_goals(), 0.3, 0.85), (video_goals(psnr=0.4, lpips=0.9), 0.4, 0.9)
    for goals, psnr, lpips in cases:
        assert {goal.number: (goal.least, goal.most) for goal in goals} == {
            "opening_correlation": (0.5, None),
            "deviation": (0.5, None),
            "psnr_mouth": (psnr, None),
            "lpips_mouth": (None, lpips),
        }
    # What a warp alone reaches is asked of the row itself, what training is for over its absence.
    over = {goal.number: (goal.over, goal.paired) for goal in video_goals() if goal.over}
    assert over == {
        "psnr_mouth": ("untrained", Paired.DIFFERENCE),
        "lpips_mouth": ("untrained", Paired.RATIO),
    }


def test_a_paired_goal_needs_another_row():
    with pytest.raises(ValueError, match="paired"):
        Goal("it", Table.VIDEOS, "psnr_mouth", least=0.1, paired=Paired.DIFFERENCE)


FOLLOWED = ("yaw_correlation", "pitch_correlation", "gaze_correlation", "opening_correlation")


def test_goals_of_a_followed_video_are_missed_by_a_copy_and_by_the_untrained():
    for goals, lpips, follows in (
        (reenactment_goals(), 0.7, 0.8),
        (reenactment_goals(lpips=0.5, follows=0.9), 0.5, 0.9),
    ):
        assert {goal.table for goal in goals} == {Table.VIDEOS}
        over = {goal.number: (goal.over, goal.least, goal.most) for goal in goals if goal.over}
        assert over == {"lpips_face": (COPIED, None, lpips), "psnr_face": (COPIED, 1.0, None)}
        # The model must follow at least as well as the untrained renderer must not.
        for row, bounds in ((scores.MODEL, (follows, None)), ("untrained", (None, follows))):
            found = {
                goal.number: (goal.least, goal.most)
                for goal in goals
                if goal.row == row and not goal.over
            }
            assert found == dict.fromkeys(FOLLOWED, bounds)
        assert len({goal.what for goal in goals}) == len(goals) == 10


def test_goals_of_videos_name_columns_of_their_table():
    for goal in (*video_goals(), *reenactment_goals()):
        assert goal.number in columns.METRICS, goal.what


def test_a_method_says_what_drives_it():
    assert TOY.driven_by == (Driven.AUDIO,), "unless it says otherwise"
    TOY.require_driven_by(Driven.AUDIO)
    follower = dataclasses.replace(TOY, driven_by=(Driven.VIDEO,))
    follower.require_driven_by(Driven.VIDEO)
    both = dataclasses.replace(TOY, driven_by=(Driven.AUDIO, Driven.VIDEO))
    for drive in Driven:
        both.require_driven_by(drive)
    for method, drive, said in (
        (
            TOY,
            Driven.VIDEO,
            "toy is driven by a recording, not by a video; leave --driver out and give --audio, or "
            "give a bundle of another method",
        ),
        (
            follower,
            Driven.AUDIO,
            "toy is driven by a video, not by a recording; give --driver=VIDEO, or a bundle of "
            "another method",
        ),
    ):
        with pytest.raises(ConfigError) as refused:
            method.require_driven_by(drive)
        assert str(refused.value) == said
