"""The audio feature and the face sketch against the official IP-LAP code."""

import pathlib

import numpy as np
import pytest

from talkface_jax.features.mel import log_mel
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.sketch import draw_lines, draw_sketch

CASES = pathlib.Path(__file__).parent / "iplap"


@pytest.fixture(scope="module")
def sketches():
    with np.load(CASES / "sketch.npz") as stored:
        return dict(stored)


def test_mel_equals_the_released_code():
    with np.load(CASES / "mel.npz") as case:
        ours = log_mel(case["wav"])
        np.testing.assert_allclose(ours.T, case["mel"], atol=1e-3)


def test_scheme_equals_the_released_lists(sketches):
    scheme = get_scheme("iplap131")
    np.testing.assert_array_equal(scheme.indices, sketches["ori_sequence_idx"])
    np.testing.assert_array_equal(
        np.concatenate([scheme.groups["pose"], scheme.groups["content"]]),
        sketches["full_face_sequence"],
    )
    ours = {frozenset(pair) for pair in scheme.indices[scheme.edges].tolist()}
    assert ours == {frozenset(pair) for pair in sketches["connections"].tolist()}


def test_sketch_equals_the_released_code(sketches):
    order = sketches["full_face_sequence"]
    for points, size, stored in zip(
        sketches["landmarks"], sketches["hw"], sketches["sketch128"], strict=True
    ):
        # The case keeps the points as pose, then content, and the drawing times 255 modulo 256: its
        # values in 0..255 were multiplied once more when it was saved as bytes. Undone exactly by
        # comparing there.
        ordered = np.empty((131, 2), np.float32)
        ordered[order] = points.T
        lines = draw_lines(ordered, tuple(size))
        wrapped = np.rint(255 * lines.astype(np.float64)).astype(np.int64) % 256
        different = np.any(wrapped[..., None] != stored, -1)
        assert different.mean() <= 0.01
        bytes_ = draw_sketch(ordered, tuple(size))
        assert bytes_.dtype == np.uint8 and bytes_.shape == (128, 128, 3)
        assert np.abs(bytes_ - lines[..., None]).max() <= 0.5
        assert 200 <= bytes_.max() <= 224
