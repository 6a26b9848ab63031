import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from talkface_jax.metrics import image


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (3, 24, 20, 3), np.uint8)
    noise = rng.normal(0, 12, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8), truth


def test_psnr_of_a_known_error():
    truth = np.full((2, 16, 16, 3), 100, np.uint8)
    pred = truth.copy()
    pred[0] += 5
    pred[1, :8] += 10
    expected = [10 * np.log10(255**2 / 25), 10 * np.log10(255**2 / 50)]
    np.testing.assert_allclose(image.psnr(pred, truth), expected, rtol=1e-6)


def test_psnr_agrees_with_scikit_image(pictures):
    pred, truth = pictures
    expected = [
        peak_signal_noise_ratio(t, p, data_range=255) for p, t in zip(*pictures, strict=True)
    ]
    np.testing.assert_allclose(image.psnr(pred, truth), expected, rtol=1e-5)


def test_identical_frames_are_perfect(pictures):
    _, truth = pictures
    np.testing.assert_array_equal(image.psnr(truth, truth), image.MAX_PSNR)
    np.testing.assert_allclose(image.ssim(truth, truth), 1.0, atol=1e-6)


def test_ssim_is_that_of_the_stated_window(pictures):
    """Computed here from its definition, with an explicit 11 x 11 Gaussian window."""
    from numpy.lib.stride_tricks import sliding_window_view

    pred, truth = pictures
    x = np.arange(-5, 6)
    line = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def blur(values):
        views = sliding_window_view(values, (11, 11), axis=(0, 1))
        return np.einsum("hwcij,ij->hwc", views, window)

    a, b = pred[0].astype(float), truth[0].astype(float)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert image.ssim(pred[0], truth[0]) == pytest.approx(value.mean(), abs=1e-5)
    flat = structural_similarity(truth[0], pred[0], channel_axis=-1)
    assert abs(flat - value.mean()) > 1e-4, "the window is seen by this test"


@pytest.mark.parametrize("metric", [image.psnr, image.ssim])
def test_other_shapes_and_types_are_refused(metric, pictures):
    pred, truth = pictures
    with pytest.raises(ValueError, match="one shape"):
        metric(pred[:, :-1], truth)
    with pytest.raises(ValueError, match="uint8"):
        metric(pred.astype(np.float32), truth)
