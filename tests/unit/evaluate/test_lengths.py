"""What two lengths have in common."""

import pytest

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate import lengths
from talkface_jax.evaluate.lengths import Overlap, common


@pytest.mark.parametrize(
    ("pred", "true", "overlap", "words"),
    [
        (100, 100, Overlap(100, 0, 0), ""),
        (96, 100, Overlap(96, 4, 0), "the last 4 frames of the truth not predicted"),
        (101, 100, Overlap(100, 0, 1), "the last 1 frame of the prediction not compared"),
        (92, 100, Overlap(92, 8, 0), "the last 8 frames of the truth not predicted"),
        (1, 1, Overlap(1, 0, 0), ""),
    ],
)
def test_the_shorter_counts_and_the_rest_is_stated(pred, true, overlap, words):
    assert common(pred, true, tolerance=8) == overlap
    assert overlap.describe() == words


@pytest.mark.parametrize(
    ("pred", "true", "tolerance"), [(91, 100, 8), (109, 100, 8), (99, 100, 0), (0, 3, 8), (3, 0, 8)]
)
def test_a_larger_difference_is_refused_in_one_sentence(pred, true, tolerance):
    with pytest.raises(MediaError) as error:
        common(pred, true, tolerance=tolerance, name="out/x.mp4")
    assert str(error.value).startswith(f"out/x.mp4 has {pred} frame")
    assert f"its truth {true};" in str(error.value)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(TalkfaceError, match="-1 frames is negative"):
        common(5, 5, tolerance=-1)


def test_no_tool_that_was_read_needs_an_offset():
    assert {tool.offset for tool in lengths.TOOLS.values()} == {0}
    assert all(tool.missing[0] <= tool.missing[1] <= 8 for tool in lengths.TOOLS.values())
