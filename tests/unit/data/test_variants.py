"""Changed copies of a picture: landmarks go where the pixels go."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.data import variants
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.images import decode_jpeg, encode_jpeg
from talkface_jax.records import RECORD_SIZE

DOTS = (33, 263, 1, 152)  # outer eye corners, tip of the nose, chin


@pytest.fixture(scope="module")
def segment(make_segment):
    """A gray picture with a blob of its own brightness at each of four landmarks."""
    made = make_segment(seed=0, frames=2)
    landmarks = made.landmarks.copy()
    places = [(0.3, 0.4), (0.72, 0.38), (0.5, 0.55), (0.48, 0.8)]
    landmarks[0, DOTS, :2] = places
    image = np.full((RECORD_SIZE, RECORD_SIZE, 3), 60, np.float32)
    y, x = np.mgrid[:RECORD_SIZE, :RECORD_SIZE] + 0.5
    for px, py in places:
        near = np.exp(-((x - px * RECORD_SIZE) ** 2 + (y - py * RECORD_SIZE) ** 2) / 18)
        image += 150 * near[..., None]
    frames = (encode_jpeg(image.clip(0, 255).astype(np.uint8), quality=97),) * 2
    return dataclasses.replace(made, landmarks=landmarks, frames=frames)


def _peak(image, point):
    """The middle of the blob near a landmark, in pixels."""
    at = np.round(point * RECORD_SIZE).astype(int)
    first = np.maximum(at - 9, 0)
    part = image[first[1] : at[1] + 10, first[0] : at[0] + 10].astype(float).sum(-1)
    weight = np.clip(part - part.min() - 30, 0, None)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    return first + np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def test_landmarks_go_where_the_pixels_go(segment):
    made = variants.picture_variants(segment, count=12, seed=1)
    for variant in made:
        image = decode_jpeg(variant.frames[0])
        assert len(variant) == 1 and variant.landmarks.dtype == np.float32
        for dot in DOTS:
            point = variant.landmarks[0, dot, :2]
            assert np.abs(_peak(image, point) - point * RECORD_SIZE).max() < 0.6
        # The right eye's corner stands left in a picture that is not mirrored, and in one that is.
        assert variant.landmarks[0, 33, 0] < variant.landmarks[0, 263, 0]
    assert made[0].info.speaker == "" and made[0].info.clip.endswith("/0")


def test_they_are_small_changes_and_all_differ(segment):
    made = variants.picture_variants(segment, count=20, seed=0)
    assert len({variant.frames[0] for variant in made}) == 20
    plain = segment.landmarks[0][:, :2]
    flipped = get_scheme("mesh478").mirror(segment.landmarks[:1])[0][:, :2]
    ways = []
    for variant in made:
        points = variant.landmarks[0][:, :2]
        distances = [np.abs(points - other)[list(DOTS)].max() for other in (plain, flipped)]
        ways.append(int(np.argmin(distances)))
        assert 0 < min(distances) < 0.1
    assert 3 < sum(ways) < 17, "about half are mirrored"


def test_a_seed_gives_the_same_again(segment):
    one, two, other = (variants.picture_variants(segment, count=3, seed=seed) for seed in (4, 4, 5))
    for a, b in zip(one, two, strict=True):
        assert a.frames == b.frames
        np.testing.assert_array_equal(a.landmarks, b.landmarks)
    assert one[0].frames != other[0].frames
