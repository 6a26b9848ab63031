"""Forwards and backwards."""

import numpy as np
import pytest

from talkface_jax.synthesize import timeline


@pytest.mark.parametrize(
    ("sources", "length", "expected"),
    [
        (4, 10, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]),
        (2, 5, [0, 1, 0, 1, 0]),
        (1, 3, [0, 0, 0]),
        (9, 3, [0, 1, 2]),
        (3, 0, []),
    ],
)
def test_ping_pong(sources, length, expected):
    assert timeline.ping_pong(sources, length).tolist() == expected


def test_long_ping_pong_moves_by_one_frame():
    steps = np.diff(timeline.ping_pong(7, 1000))
    assert set(np.abs(steps)) == {1}


def test_nothing_to_show():
    with pytest.raises(ValueError):
        timeline.ping_pong(0, 5)


def test_prefix():
    video = timeline.Prefix([np.full((1, 1, 3), i) for i in range(6)], 4)
    assert len(video) == 4 and [int(frame[0, 0, 0]) for frame in video] == [0, 1, 2, 3]
    assert int(video[-1][0, 0, 0]) == 3
    with pytest.raises(IndexError):
        video[4]
    assert len(timeline.Prefix([], 3)) == 0
