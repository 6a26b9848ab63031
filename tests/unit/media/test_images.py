import numpy as np
import pytest

from talkface_jax.errors import MediaError
from talkface_jax.media.images import crop_resize, decode_jpeg, encode_jpeg


def _ramp(height, width):
    """Red is the x, green the y of each pixel's centre."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y, np.zeros_like(x)], -1)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10.0, 20.0, 50.0, 60.0), (40, 40)),
        ((10.3, 20.6, 50.3, 60.6), (40, 40)),
        ((10.3, 20.6, 50.3, 60.6), (80, 100)),
        ((8.5, 4.25, 120.5, 116.25), (28, 28)),
        ((8.0, 8.0, 108.0, 108.0), (64, 64)),
    ],
)
def test_crop_is_subpixel_exact(box, size):
    image = _ramp(128, 128).astype(np.float32)  # no rounding to levels
    got = crop_resize(image, np.array(box), size)
    x = box[0] + (np.arange(size[1]) + 0.5) * (box[2] - box[0]) / size[1]
    y = box[1] + (np.arange(size[0]) + 0.5) * (box[3] - box[1]) / size[0]
    # OpenCV places samples on a grid of 1/32 pixel.
    assert np.abs(got[..., 0] - x[None]).max() < 0.035
    assert np.abs(got[..., 1] - y[:, None]).max() < 0.035


def test_border_is_repeated():
    image = _ramp(32, 32).astype(np.uint8)
    got = crop_resize(image, np.array([-16, -16, 16, 16]), (32, 32))
    np.testing.assert_array_equal(got[16:, 16:], image[:16, :16])
    assert np.all(got[:16, :16] == image[0, 0])


def test_shrinking_does_not_alias():
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    got = crop_resize(image, np.array([0.0, 0, 256, 256]), (64, 64))
    assert np.abs(got.astype(float) - 127.5).max() < 2


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, 0, float("nan"), 3)])
def test_bad_box(box):
    with pytest.raises(ValueError, match="box"):
        crop_resize(np.zeros((8, 8, 3), np.uint8), np.array(box, float), (4, 4))


def test_jpeg():
    image = np.zeros((64, 48, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, 48)
    image[..., 2] = 100
    data = encode_jpeg(image)
    assert data == encode_jpeg(image)
    assert np.abs(decode_jpeg(data).astype(float) - image).mean() < 3
    with pytest.raises(MediaError, match="JPEG"):
        decode_jpeg(b"")
    with pytest.raises(MediaError, match="JPEG"):
        decode_jpeg(b"not an image")
