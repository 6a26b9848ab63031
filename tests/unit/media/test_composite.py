"""Compositing and marks."""

import numpy as np
import pytest

from talkface_jax.media import composite, images

BOX = np.array([60.0, 40.0, 188.0, 168.0], np.float32)
ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
CONTOUR = np.stack([124 + 40 * np.cos(ANGLES), 108 + 45 * np.sin(ANGLES)], 1).astype(np.float32)


def _frame(seed=0, size=(240, 256)):
    """A smooth picture, as a face is at the crop's resolution."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    waves = sum(
        a * np.sin(x * f + p) * np.cos(y * g + p)
        for a, f, g, p in zip(
            rng.uniform(10, 25, 4), rng.uniform(0, 0.12, 4), rng.uniform(0, 0.12, 4), range(4),
            strict=True,
        )
    )  # fmt: skip
    return np.clip(np.stack([130 + waves, 110 + 0.8 * waves, 100 - 0.5 * waves], 2), 0, 255).astype(
        np.uint8
    )


def _paste(frame, crop, box, contour):
    return composite.paste(frame, patch=composite.Patch(crop, box, contour))


@pytest.mark.parametrize("box", [BOX, BOX + 0.4, np.array([50, 30, 205, 190], np.float32)])
def test_identity_crop_changes_nothing(box):
    frame = _frame()
    crop = images.crop_resize(frame, box, (128, 128))
    result = _paste(frame, crop, box, CONTOUR)
    assert np.abs(result.astype(int) - frame).max() <= 2


def test_crop_replaces_the_inside_and_nothing_else():
    frame = _frame()
    crop = images.crop_resize(frame, BOX, size=(128, 128)).astype(np.float32)
    centre = np.zeros((128, 128, 1), np.float32)
    centre[50:90, 45:85] = 60.0
    result = _paste(frame, np.clip(crop - centre, 0, 255), BOX, CONTOUR)
    change = np.abs(result.astype(int) - frame).max(-1)
    assert np.median(change[95:125, 110:140]) > 50
    assert change[:30].max() == 0 and change[:, :50].max() == 0 and change[180:].max() == 0


def test_mask_ends_before_the_box():
    mask = composite.face_mask(BOX, CONTOUR * [1.4, 1.4] - [50, 40], size=(128, 128))
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert edge.max() == 0 and mask[64, 64] > 0.99


@pytest.mark.parametrize("cast", [(25, -10, 15), (-30, -30, -30)])
def test_colour_cast_is_matched(cast):
    frame = _frame()
    crop = images.crop_resize(frame, BOX, size=(128, 128)).astype(np.float32) + cast
    result = _paste(frame, np.clip(crop, 0, 255), BOX, CONTOUR)
    assert np.abs(result.astype(int) - frame).max() <= 3


def test_box_beyond_the_frame():
    frame = _frame()
    box = BOX + np.array([-100, -80, -100, -80], np.float32)
    crop = images.crop_resize(frame, box, (128, 128))
    result = _paste(frame, crop, box, CONTOUR - [100, 80])
    assert np.abs(result.astype(int) - frame).max() <= 2
    outside = _paste(frame, crop, box - 500, CONTOUR - 500)
    assert np.array_equal(outside, frame)


def test_no_step_at_the_seam():
    frame = np.full((240, 256, 3), 120, np.uint8)
    ramp = 40 * np.linspace(-1, 1, 128, dtype=np.float32)[None, :, None]
    crop = np.broadcast_to(120 + ramp, (128, 128, 3))
    result = _paste(frame, crop, BOX, CONTOUR).astype(int)
    assert max(np.abs(np.diff(result, axis=0)).max(), np.abs(np.diff(result, axis=1)).max()) <= 6


def test_a_contour_far_outside_is_drawn_as_if_it_ended_there():
    """A mouth that is opened absurdly far must not overflow OpenCV's coordinates."""
    frame = np.full((64, 64, 3), 100, np.uint8)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    box = np.array([16, 16, 48, 48], np.float32)
    made = []
    for depth in (1e4, 1e30):
        contour = np.array([[20, 20], [44, 20], [32, depth]], np.float32)
        made.append(composite.paste(frame, patch=composite.Patch(image, box, contour)))
    np.testing.assert_array_equal(*made)
    assert np.any(made[0] != frame)
