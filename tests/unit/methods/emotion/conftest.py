"""A segment with an emotion."""

import dataclasses

import pytest


@pytest.fixture
def shown(make_segment):
    """Makes a segment of 20 frames of which 18 show a face, of an emotion and level."""

    def make(emotion=4, level=2, seed=0, **info):
        segment = make_segment(seed=seed, frames=20, invalid=(3, 4))
        about = dataclasses.replace(segment.info, emotion=emotion, level=level, **info)
        return dataclasses.replace(segment, info=about)

    return make
