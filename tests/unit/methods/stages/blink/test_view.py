import dataclasses
import pickle

import numpy as np

from talkface_jax.data.dataset import SegmentReader
from talkface_jax.landmarks import blinks
from talkface_jax.landmarks.retarget import mean_mesh
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.stages.blink.view import BlinkView, blink_track


def test_a_sample_is_a_window_of_the_segments_fast_motion(make_segment):
    segment = make_segment(frames=60, invalid=(50,))
    view = BlinkView(window=20)
    reader = SegmentReader.of(segment)
    sample = view.sample(reader, 7, np.random.default_rng(0), train=True)
    spec = view.spec(1)["blink"]
    assert (sample["blink"].shape, sample["blink"].dtype) == (spec.shape[1:], spec.dtype)
    np.testing.assert_array_equal(sample["blink"], blink_track(segment)[7:27])
    again = pickle.loads(pickle.dumps(view)).sample(
        reader, 7, np.random.default_rng(9), train=False
    )
    np.testing.assert_array_equal(again["blink"], sample["blink"])
    # Tracked points alone: blendshapes and images do not matter.
    other = dataclasses.replace(segment, blendshapes=segment.blendshapes * 0, frames=())
    np.testing.assert_array_equal(blink_track(other), blink_track(segment))


def test_closing_lids_are_seen_whatever_the_head_does(make_segment):
    """A blink drawn into a segment's mesh comes out as closure, at a tilted, smaller head too."""
    frames, scheme = 60, get_scheme("ibug68")
    mesh = np.repeat(mean_mesh()[None], frames, 0)
    mesh[:, 13, 1] -= np.linspace(0, 0.05, frames)
    upper, lower = scheme.indices[[37, 38, 43, 44]], scheme.indices[[41, 40, 47, 46]]
    mesh[20:25, upper] = mesh[20:25, lower]
    angle = np.linspace(0, 0.3, frames)
    turn = np.stack([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = np.einsum("tnd,det->tne", mesh, turn) * 0.2 + 0.5
    segment = make_segment(frames=frames)
    depth = 0.1 * np.sum(mesh**2, -1, keepdims=True)
    landmarks = np.concatenate([moved, depth], -1).astype(np.float32)
    boxes = np.tile(np.float32([0, 0, 200, 200]), (frames, 1))
    track = blink_track(dataclasses.replace(segment, landmarks=landmarks, box=boxes))
    (blink,) = blinks.find_blinks(blinks.closure(track))
    assert 19 < blink.start < 20 and 24 < blink.stop < 25
    np.testing.assert_allclose(blinks.closure(track)[20:25], 1, atol=0.1)
