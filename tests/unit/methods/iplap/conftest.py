"""A segment as both stages see it; the tests of this folder share its helper modules, too."""

import pathlib
import sys

import numpy as np
import pytest

from talkface_jax.data.pipeline import SegmentReader
from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(9).integers(-9000, 9000, 80 * 640).astype(np.int16)


@pytest.fixture(scope="module")
def segment(make_segment, sound):
    return make_segment(seed=6, frames=30, start=37, invalid=(0, 1, 20), sound=sound)


@pytest.fixture
def reader(segment):
    return SegmentReader.of(segment)


@pytest.fixture(scope="module")
def points(segment):
    """Points normalised to the training crop, step by step."""
    source = boxes.from_box(segment.landmarks, segment.box)[:, get_scheme("iplap131").indices, :2]
    crop = boxes.crop_boxes(source, valid=segment.valid, margin=0.2, smooth=12.0)
    return boxes.to_box(source, crop)
