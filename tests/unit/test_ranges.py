"""Ranges of numbers: what lies in them, how they are worded, and who is named where one is left."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from talkface_jax import ranges
from talkface_jax.errors import ConfigError
from talkface_jax.ranges import Range, check_ranges, ranged

INF = float("inf")


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Range(least=1), "at least 1"),
        (Range(most=0.5), "at most 0.5"),
        (Range(above=0), "above 0"),
        (Range(below=1), "below 1"),
        (Range(least=0, most=1), "from 0 to 1"),
        (Range(least=0, below=1), "from 0 to below 1"),
        (Range(above=0, most=2), "above 0 and at most 2"),
        (Range(above=0, below=1), "above 0 and below 1"),
        (Range(least=3, most=3), "3"),
        (Range(least=1, parity="odd"), "at least 1 and odd"),
        (Range(least=2, most=8, parity="even"), "from 2 to 8 and even"),
        (Range(parity="odd"), "odd"),
        (Range(), "finite"),
        (ranges.AT_LEAST_0, "at least 0"),
        (ranges.AT_LEAST_1, "at least 1"),
        (ranges.ABOVE_0, "above 0"),
        (ranges.SHARE, "from 0 to 1"),
        (ranges.LAYERS, "from 1 to 5"),
        (ranges.DROPOUT, "from 0 to below 1"),
    ],
)
def test_a_range_in_words(allowed, words):
    assert str(allowed) == words


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Range(least=1), (1, 1.5, 10**6), (0, 0.999, -1)),
        (Range(most=1), (1, 0, -5), (1.001, 2)),
        (Range(above=0), (1e-9, 5), (0, -0.0, -1)),
        (Range(below=1), (0.999, -5), (1, 2)),
        (Range(least=0, below=1), (0, 0.5, np.float32(0.25)), (-1e-9, 1)),
        (Range(above=0, most=1), (1, 0.1), (0, 1.1)),
        (Range(least=1, parity="odd"), (1, 3, np.int64(5)), (0, 2, -1, 1.5)),
        (Range(parity="even"), (0, -2, 4), (1, -3, 2.5)),
        (Range(), (0, -1e30, 1e30), ()),
    ],
)
def test_ends_belong_or_do_not(allowed, inside, outside):
    assert all(number in allowed for number in inside)
    assert not any(number in allowed for number in outside)
    assert not any(number in allowed for number in (float("nan"), INF, -INF, np.float32("nan")))


@dataclasses.dataclass(frozen=True)
class Net:
    width: int = ranged(4, Range(least=1))
    rate: float = ranged(0.0, ranges.DROPOUT)


@dataclasses.dataclass(frozen=True)
class Deep:
    net: Net = dataclasses.field(default_factory=Net)
    sizes: tuple[int, ...] = ranged((3, 5), Range(least=1, parity="odd"))


@dataclasses.dataclass(frozen=True)
class Whole:
    free: float = -1.0
    steps: int = ranged(1, Range(least=1))
    task: Deep = dataclasses.field(default_factory=Deep)
    players: Mapping[str, Net] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        (Whole(steps=0), "steps", "at least 1, not 0"),
        (Whole(task=Deep(Net(width=0))), "task.net.width", "at least 1, not 0"),
        (Whole(task=Deep(Net(rate=1.0))), "task.net.rate", "from 0 to below 1, not 1.0"),
        (Whole(task=Deep(Net(rate=float("nan")))), "task.net.rate", "from 0 to below 1, not nan"),
        (
            Whole(task=Deep(Net(rate=INF))),
            "task.net.rate",
            "from 0 to below 1, not inf",
        ),
        (Whole(task=Deep(sizes=(3, 4))), "task.sizes", "at least 1 and odd, not (3, 4)"),
        (
            Whole(players={"good": Net(), "disc": Net(width=-2)}),
            "players.disc.width",
            "at least 1, not -2",
        ),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_dots(config, field, words):
    with pytest.raises(ConfigError) as refused:
        check_ranges(config)
    assert str(refused.value) == (f"config.{field} must be {words}; give another --config.{field}")


def test_no_numbers_at_all_are_refused():
    with pytest.raises(ConfigError, match=r"^config\.task\.sizes must not be empty; give numbers"):
        check_ranges(Whole(task=Deep(sizes=())))


@pytest.mark.parametrize("value", ["5", True, [3]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ConfigError, match=r"^config\.steps must be at least 1, not "):
        check_ranges(Whole(steps=value))


def test_a_part_of_the_experiment_is_named_with_its_place():
    with pytest.raises(ConfigError, match=r"^config\.task\.net\.width must .* --config\.task\.net"):
        check_ranges(Deep(Net(width=0)), where="task")


def test_what_lies_in_its_range_passes_and_undeclared_fields_are_free():
    check_ranges(Whole(free=float("nan"), players={"a": Net(rate=0.0), "b": Net(rate=0.999)}))
    assert Whole() == Whole(steps=1)
