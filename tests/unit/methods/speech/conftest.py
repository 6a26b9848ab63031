"""A spoken segment, for the tests of what is heard of it."""

import dataclasses

import numpy as np
import pytest

TEXT = "It's a blue moon."


@pytest.fixture(scope="session")
def spoken(make_segment):
    """A segment of which 2 s are not silent, without any face; it says `TEXT`."""
    sound = np.zeros(125 * 640, np.int16)
    sound[: 2 * 16000] = np.random.default_rng(5).normal(0, 2000, 2 * 16000).astype(np.int16)
    sound[2 * 16000 - 1] = 7
    segment = make_segment(frames=125, invalid=tuple(range(125)), sound=sound)
    return dataclasses.replace(segment, info=dataclasses.replace(segment.info, text=TEXT))
