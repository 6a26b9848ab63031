import pickle

import numpy as np
import pytest

from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.sketch import draw_sketch
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.methods.iplap.render.view import RenderView

SCHEME = get_scheme("iplap131")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("view", [RenderView(), RenderView(references=2, size=32)])
def test_samples_fit_the_spec(view, reader, train):
    sample = view.sample(reader, 5, rng(), train=train)
    spec = view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape, key
        assert array.dtype == spec[key].dtype, key
    assert pickle.loads(pickle.dumps(view)) == view


def test_render_crops_lie_under_their_points(reader, points, segment):
    """The records' images are ramps: red grows down, green grows right, over the record's box."""
    view = RenderView(references=2, size=64)
    sample = view.sample(reader, 8, rng(), train=True)
    middle = 10
    source = boxes.from_box(segment.landmarks, segment.box)[:, SCHEME.indices, :2]
    crop = boxes.crop_boxes(source, valid=segment.valid, margin=0.2, smooth=12.0)[middle]
    record = segment.box[middle]
    at = (np.arange(64) + 0.5) / 64
    for channel, axis in ((0, 1), (1, 0)):
        pixel = crop[axis] + at * (crop[axis + 2] - crop[axis])
        share = (pixel - record[axis]) / (record[axis + 2] - record[axis])
        ramp = share * 256 - 0.5
        seen = sample["face"][..., channel].mean(axis)
        np.testing.assert_allclose(seen, ramp, atol=3)


def test_render_pieces_belong_together(reader, points, segment):
    view = RenderView(references=3)
    sample = view.sample(reader, 8, rng(), train=True)
    np.testing.assert_array_equal(sample["masked"][:64], sample["face"][:64])
    assert not sample["masked"][64:].any() and sample["face"][64:].any()
    np.testing.assert_allclose(sample["points"], points[8:13], atol=1e-6)
    source = boxes.from_box(segment.landmarks, segment.box)[:, SCHEME.indices, :2]
    crop = boxes.crop_boxes(source, valid=segment.valid, margin=0.2, smooth=12.0)
    size = crop[:, 2:] - crop[:, :2]
    for k, frame in enumerate(range(8, 13)):
        expected = draw_sketch(points[frame], (size[frame, 1], size[frame, 0]))
        assert (sample["sketch"][k] != expected).any(-1).mean() < 0.01
    distance = np.abs(sample["ref_points"][:, None] - points[None]).max((-1, -2))
    frames = distance.argmin(1)
    assert set(frames.tolist()).isdisjoint({0, 1, 20, *range(8, 13)})
    # Blue tells the time in the made-up images: 5 levels a frame.
    times = sample["ref_image"][..., 2].mean((1, 2)) / 5
    np.testing.assert_allclose(times, frames, atol=0.7)
    whole = MotionView().sample(reader, 8, rng(), train=False)
    np.testing.assert_array_equal(sample["mel"], whole["mel"][2])
