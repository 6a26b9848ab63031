"""Targets, and pictures of the identity, of a segment whose images tell time and place."""

import dataclasses
import pickle

import numpy as np
import pytest

from talkface_jax.data.pipeline import SegmentReader
from talkface_jax.landmarks import align, boxes, measures
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.aligned import RIGID
from talkface_jax.methods.stages.portrait.view import PortraitView

SCHEME = get_scheme("ibug68")
INVALID = (0, 1, 20)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def segment(make_segment):
    return make_segment(seed=6, frames=30, invalid=INVALID)


@pytest.fixture
def reader(segment):
    return SegmentReader.of(segment)


@pytest.fixture(scope="module")
def geometry(segment):
    source = boxes.from_box(segment.landmarks, segment.box)
    return boxes.crop_geometry(source, valid=segment.valid, scheme="ibug68")


def time_of(image):
    """The made-up images grow bluer by five levels a frame."""
    return float(np.median(image[..., 2])) / 5


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "view",
    [PortraitView(size=48), PortraitView(size=32, align="affine", flip=True, colour_jitter=0.2)],
)
def test_samples_fit_the_spec(view, reader, train):
    sample = view.sample(reader, 5, rng(), train=train)
    spec = view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape, key
        assert array.dtype == spec[key].dtype, key
    assert pickle.loads(pickle.dumps(view)) == view


def test_identity_in_training_is_any_other_valid_frame(reader, geometry):
    seen = set()
    for seed in range(150):
        sample = PortraitView(size=16).sample(reader, 8, rng(seed), train=True)
        found = np.abs(geometry.points - sample["identity_points"]).max((1, 2)).argmin()
        assert time_of(sample["identity"]) == pytest.approx(found, abs=0.7)
        seen.add(int(found))
    assert seen == set(range(30)) - {8, *INVALID}
    np.testing.assert_allclose(sample["points"], geometry.points[8], atol=1e-6)
    assert time_of(sample["face"]) == pytest.approx(8, abs=0.7)


@pytest.mark.parametrize("start", [5, 12])
def test_identity_in_evaluation_is_fixed_and_never_the_target(reader, segment, start):
    source = boxes.from_box(segment.landmarks, segment.box)
    lips, eyes = measures.mouth_opening(source, get_scheme("mesh478")), measures.eye_opening(source)
    best = identity_frame(lips=lips, eyes=eyes, valid=segment.valid)
    others = segment.valid & (np.arange(30) != best)
    second = identity_frame(lips=lips, eyes=eyes, valid=others)
    for seed in (0, 1):
        view = PortraitView(size=16)
        sample = view.sample(reader, best, rng(seed), train=False)
        assert time_of(sample["identity"]) == pytest.approx(second, abs=0.7)
        others = segment.valid & (np.arange(30) != start)
        chosen = identity_frame(lips=lips, eyes=eyes, valid=others)
        sample = view.sample(reader, start, rng(seed), train=False)
        assert time_of(sample["identity"]) == pytest.approx(chosen, abs=0.7) and chosen != start


@pytest.mark.parametrize("align_to", ["none", "affine"])
def test_crops_lie_under_their_points(reader, segment, geometry, align_to):
    """Red grows down and green right over the record's box: a colour tells a pixel's origin."""
    view = PortraitView(size=64, align=align_to)
    sample = view.sample(reader, 8, rng(3), train=True)
    other = round(time_of(sample["identity"]))
    placed = {"face": (8, "points"), "identity": (other, "identity_points")}
    for key, (frame, name) in placed.items():
        for crop_point, mesh in zip(sample[name], SCHEME.indices, strict=True):
            column, row = (np.clip(crop_point, 0.02, 0.98) * 64).astype(int)
            if crop_point.min() < 0.05 or crop_point.max() > 0.95:
                continue
            x, y = segment.landmarks[frame, mesh, :2] * 256
            red, green, _ = sample[key][row, column].astype(float)
            assert red == pytest.approx(y - 0.5, abs=4) and green == pytest.approx(x - 0.5, abs=4)


def test_aligned_points_are_those_nearest_to_the_target_by_an_affine_map(reader, segment, geometry):
    sample = PortraitView(size=16, align="affine").sample(reader, 8, rng(3), train=True)
    other = round(time_of(sample["identity"]))
    mesh = segment.landmarks[other][:, :2]
    source = boxes.from_box(segment.landmarks, segment.box)[8]
    target = boxes.to_box(source[RIGID, :2], geometry.boxes[8])
    expected = align.apply_affine(mesh[SCHEME.indices], align.fit_affine(mesh[RIGID], target))
    np.testing.assert_allclose(sample["identity_points"], expected, atol=1e-4)


def test_mirroring_and_recolouring_are_of_the_whole_sample(reader):
    plain = PortraitView(size=24, align="affine")
    changing = dataclasses.replace(plain, flip=True, colour_jitter=0.3)
    kinds = set()
    for seed in range(8):
        a = plain.sample(reader, 8, rng(seed), train=True)
        b = changing.sample(reader, 8, rng(seed), train=True)
        mirrored = not np.allclose(a["points"], b["points"])
        kinds.add(mirrored)
        gains = []
        for image, points in (("face", "points"), ("identity", "identity_points")):
            if mirrored:
                a[points], a[image] = SCHEME.mirror(a[points]), a[image][:, ::-1]
            np.testing.assert_allclose(b[points], a[points], atol=1e-6)
            gains.append(b[image].sum((0, 1)) / a[image].sum((0, 1)))
            expected = np.clip(np.rint(a[image] * gains[-1]), 0, 255)
            assert np.abs(b[image] - expected).max() <= 40  # Clipping moves the ratio of the sums.
        np.testing.assert_allclose(gains[0][2], gains[1][2], atol=0.05)
        assert (gains[0] > 0.65).all() and (gains[0] < 1.35).all()
        fixed = changing.sample(reader, 8, rng(seed), train=False)
        for key, array in plain.sample(reader, 8, rng(1), train=False).items():
            np.testing.assert_array_equal(array, fixed[key])
    assert kinds == {True, False}


def test_targets_with_closed_eyes_are_drawn_as_often_as_asked(segment):
    landmarks = segment.landmarks.copy()
    landmarks[:, [159, 386], 1] = landmarks[:, [145, 374], 1] - 0.05
    wide = dataclasses.replace(segment, landmarks=landmarks)
    blinking = landmarks.copy()
    for upper, lower in ((159, 145), (386, 374)):
        blinking[11:13, upper] = landmarks[11:13, lower]
    blinking = SegmentReader.of(dataclasses.replace(segment, landmarks=blinking))
    view = PortraitView(size=16, closed_share=0.5)
    frames = []
    for seed in range(80):
        sample = view.sample(blinking, 8, rng(seed), train=True)
        frames.append(round(time_of(sample["face"])))
        assert round(time_of(sample["identity"])) != frames[-1]
    assert set(frames) == {8, 11, 12}
    assert 25 <= sum(frame != 8 for frame in frames) <= 55
    for reader, train in ((SegmentReader.of(wide), True), (blinking, False)):
        for seed in range(6):
            sample = view.sample(reader, 8, rng(seed), train=train)
            assert time_of(sample["face"]) == pytest.approx(8, abs=0.7)
