import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.pipeline import SegmentReader, open_dataset, train_iterator
from talkface_jax.features import mel
from talkface_jax.landmarks import boxes
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.iplap.motion.view import MotionView

SCHEME = get_scheme("iplap131")
GROUPS = SCHEME.groups


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "view",
    [
        MotionView(references=4),
        MotionView(flip=True, scale_jitter=0.07, shift_jitter=0.04, mel_noise=0.1),
    ],
)
def test_samples_fit_the_spec(view, reader, train):
    sample = view.sample(reader, 5, rng(), train=train)
    spec = view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape, key
        assert array.dtype == spec[key].dtype, key
    assert pickle.loads(pickle.dumps(view)) == view


def test_motion_without_augmentation_is_the_track(reader, points, sound):
    sample = MotionView(references=6).sample(reader, 8, rng(), train=True)
    np.testing.assert_allclose(sample["pose"], points[8:13][:, GROUPS["pose"]], atol=1e-6)
    np.testing.assert_allclose(sample["content"], points[8:13][:, GROUPS["content"]], atol=1e-6)
    whole = mel.log_mel(sound.astype(np.float32) / 32768)
    expected = mel.mel_windows(whole, np.arange(37 + 8, 37 + 13))
    np.testing.assert_allclose(sample["mel"], expected, atol=5e-4)


def frames_of(references, points, group):
    """Which frames the reference points are of."""
    distance = np.abs(references[:, None] - points[None][:, :, GROUPS[group]]).max((-1, -2))
    assert distance.min(1).max() < 1e-6
    return distance.argmin(1)


def test_training_references_are_valid_and_outside_the_window(reader, points, segment):
    view = MotionView(references=15)
    seen = set()
    for seed in range(20):
        sample = view.sample(reader, 8, rng(seed), train=True)
        frames = frames_of(sample["ref_content"], points, "content")
        assert len(set(frames.tolist())) == 15
        np.testing.assert_array_equal(frames_of(sample["ref_pose"], points, "pose"), frames)
        seen |= set(frames.tolist())
    assert seen == set(range(30)) - {0, 1, 20} - set(range(8, 13))


def test_evaluation_references_open_their_lips_in_order(reader, points, segment):
    view = MotionView(references=5)
    sample = view.sample(reader, 8, rng(0), train=False)
    frames = frames_of(sample["ref_content"], points, "content")
    source = boxes.from_box(segment.landmarks, segment.box)
    gap = np.linalg.norm(source[:, 13, :2] - source[:, 14, :2], axis=-1)
    eyes = np.linalg.norm(source[:, 33, :2] - source[:, 263, :2], axis=-1)
    opening = (gap / np.maximum(eyes, 1e-6))[frames]
    assert (np.diff(opening) > 0).all()
    again = view.sample(reader, 8, rng(1), train=False)
    np.testing.assert_array_equal(again["ref_content"], sample["ref_content"])


def test_mirroring_is_of_the_whole_sample(reader):
    plain, mirrored = MotionView(references=7), MotionView(references=7, flip=True)
    kinds = set()
    for seed in range(12):
        a = plain.sample(reader, 8, rng(seed), train=True)
        b = mirrored.sample(reader, 8, rng(seed), train=True)
        same = np.allclose(a["pose"], b["pose"])
        kinds.add(same)
        for pose, content in (("pose", "content"), ("ref_pose", "ref_content")):
            whole = np.empty((len(a[pose]), 131, 2), np.float32)
            whole[:, GROUPS["pose"]], whole[:, GROUPS["content"]] = a[pose], a[content]
            expected = whole if same else SCHEME.mirror(whole)
            np.testing.assert_allclose(b[pose], expected[:, GROUPS["pose"]], atol=1e-6)
            np.testing.assert_allclose(b[content], expected[:, GROUPS["content"]], atol=1e-6)
    assert kinds == {True, False}


def test_no_augmentation_in_evaluation(reader):
    plain = MotionView()
    strong = MotionView(flip=True, scale_jitter=0.3, shift_jitter=0.2, mel_noise=1.0)
    for seed in range(4):
        a = plain.sample(reader, 8, rng(seed), train=False)
        b = strong.sample(reader, 8, rng(seed), train=False)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_motion_never_decodes_an_image(segment):
    broken = dataclasses.replace(segment, frames=(b"",) * len(segment))
    assert MotionView().sample(SegmentReader.of(broken), 5, rng(), train=True)


def test_batches_from_disk(prepared):
    dataset = open_dataset(prepared, "train")
    view = MotionView(references=3, flip=True, scale_jitter=0.07, shift_jitter=0.04, mel_noise=0.1)
    batches = []
    for threads in (0, 2):
        iterator = train_iterator(dataset, view, batch_size=6, seed=5, threads=threads)
        batches.append([next(iterator) for _ in range(4)])
        iterator.close()
    for one, two in zip(*batches, strict=True):
        for key, spec in view.spec(6).items():
            assert one[key].shape == spec.shape and one[key].dtype == spec.dtype
            np.testing.assert_array_equal(one[key], two[key])
