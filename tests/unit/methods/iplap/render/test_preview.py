import numpy as np

from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask


def test_a_row_shows_what_goes_in_and_what_comes_out():
    rng = np.random.default_rng(0)

    def images(*lead):
        return rng.integers(0, 256, (2, *lead, 8, 8, 3), np.uint8)

    batch = {
        "masked": images(),
        "sketch": images(5),
        "ref_image": images(3),
        "face": images(),
    }
    outputs = {name: images() / np.float32(255) for name in ("warped", "image")}
    # What lies outside of [0, 1] is cut.
    outputs["image"][0, 0, 0] = (-0.5, 1.5, 0.5)
    picture = RenderTask(RenderConfig()).previews(outputs, batch).images["faces"]
    assert picture.shape == (2 * 8, 6 * 8, 3) and picture.dtype == np.uint8
    cells = picture.reshape(2, 8, 6, 8, 3).transpose(2, 0, 1, 3, 4)
    expected = [
        batch["masked"],
        batch["sketch"][:, 2],
        batch["ref_image"][:, 0],
        np.rint(outputs["warped"] * 255),
        np.rint(np.clip(outputs["image"], 0, 1) * 255),
        batch["face"],
    ]
    for cell, images in zip(cells, expected, strict=True):
        np.testing.assert_array_equal(cell, images)
