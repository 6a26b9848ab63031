"""Two frames of a clip, seen by a camera that stands still between them."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.data.reader import SegmentReader
from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.emoconv.generator.keypoints import SCHEME, keypoints_in, squares
from talkface_jax.methods.emoconv.generator.view import GeneratorView
from talkface_jax.records import RECORD_SIZE


@pytest.fixture(scope="module")
def segment(make_segment):
    made = make_segment(seed=3, frames=30)
    # The second half of the clip is cut out twenty pixels further right and lower.
    box = made.box.copy()
    box[15:] += 20
    return dataclasses.replace(made, box=box)


def drawn(view, segment, frame, *, seed=0, train=False):
    return view.sample(SegmentReader.of(segment), frame, np.random.default_rng(seed), train=train)


@pytest.mark.parametrize("train", [True, False])
def test_samples_fit_the_spec(segment, train):
    view = GeneratorView(size=48, flip=True, colour_jitter=0.2, reach=0.9)
    sample, spec = drawn(view, segment, 4, train=train), view.spec(2)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert ((2, *array.shape), array.dtype) == (spec[key].shape, spec[key].dtype), key


def test_squares_keep_their_middle():
    np.testing.assert_allclose(squares(np.float32([10, 20, 30, 40]), 0.5), [15, 25, 25, 35])
    np.testing.assert_allclose(squares(np.float32([10, 20, 30, 40]), 1.0), [10, 20, 30, 40])


def test_keypoints_of_the_corners_and_the_middle():
    box = np.float32([10, 20, 30, 40])
    points = np.float32([[10, 20, 0], [30, 40, 10], [20, 30, -5]])
    wanted = [[-1, -1, 0], [1, 1, 1], [0, 0, -0.5]]
    np.testing.assert_allclose(keypoints_in(points, box), wanted, atol=1e-6)


def test_both_frames_are_seen_by_one_camera(segment):
    """Source pixels make the keypoints of both, whatever box each was recorded by."""
    view, frame = GeneratorView(size=64), 20
    sample = drawn(view, segment, frame)
    pixels = boxes.from_box(segment.landmarks[:, SCHEME.indices], segment.box)
    found = (sample["identity_keypoints"] + [1, 1, 0]) / 2
    fits = [
        np.abs(found - boxes.to_box(pixels[k], segment.box[k])).max() for k in range(len(segment))
    ]
    source = int(np.argmin(fits))
    assert fits[source] < 1e-5 and source != frame
    np.testing.assert_allclose(
        sample["keypoints"], keypoints_in(pixels[frame], segment.box[source]), atol=1e-5
    )
    np.testing.assert_allclose(sample["points"], (sample["keypoints"][:68, :2] + 1) / 2, atol=1e-6)


def test_the_target_is_moved_into_the_cameras_picture(segment):
    """The made-up pictures grow redder downwards and greener to the right by one level a pixel."""
    view = GeneratorView(size=RECORD_SIZE)
    for seed in range(20):
        sample = drawn(view, segment, 20, seed=seed, train=True)
        own = keypoints_in(
            boxes.from_box(segment.landmarks[20, SCHEME.indices], segment.box[20]),
            segment.box[20],
        )
        shift = (sample["keypoints"] - own)[:, :2].mean(0) / 2 * RECORD_SIZE
        if np.abs(shift).max() > 10:
            break
    else:
        raise AssertionError("no source of the first half was drawn")
    middle = sample["face"][100:150, 100:150].astype(np.float64).mean((0, 1))
    ramp = np.arange(RECORD_SIZE)[100:150].mean()
    np.testing.assert_allclose(middle[:2], [ramp - shift[1], ramp - shift[0]], atol=1.5)


def test_reach_cuts_closer():
    far, near = (np.float32([[100.0, 100.0, 10.0]]) for _ in range(2))
    box = np.float32([0, 0, 160, 160])
    wide = keypoints_in(far, box)
    close = keypoints_in(near, squares(box, 0.5))
    np.testing.assert_allclose(close, 2 * wide, atol=1e-6)


def test_mirrored_samples_are_mirrored_throughout(segment):
    view = GeneratorView(size=32)
    sample = drawn(view, segment, 4)
    sample["angles"] = np.float32([10, 20, 30])
    changed = view.mirrored(sample)
    np.testing.assert_allclose(changed["angles"], [-10, 20, -30])
    right, left = (get_scheme("ibug78").groups[f"iris_{side}"] for side in ("right", "left"))
    np.testing.assert_allclose(
        changed["keypoints"][left[0]], sample["keypoints"][right[0]] * [-1, 1, 1]
    )
    np.testing.assert_allclose(
        (changed["keypoints"][:68, :2] + 1) / 2, changed["points"], atol=1e-6
    )
    twice = view.mirrored({**sample, **changed})
    np.testing.assert_allclose(twice["identity_keypoints"], sample["identity_keypoints"])
