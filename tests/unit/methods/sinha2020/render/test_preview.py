import numpy as np

from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.sinha2020.render.task import RenderTask

SIZE = 32


def test_previews_show_every_map_in_a_row(batch, outputs):
    picture = RenderTask(RenderConfig()).previews(outputs, batch).images["faces"]
    assert picture.shape == (2 * SIZE, 6 * SIZE, 3) and picture.dtype == np.uint8
    cells = picture.reshape(2, SIZE, 6, SIZE, 3).transpose(0, 2, 1, 3, 4)
    np.testing.assert_array_equal(cells[:, 0], batch["identity"])
    np.testing.assert_array_equal(cells[:, 5], batch["face"])
    for place, name in ((2, "colour"), (3, "attention"), (4, "image")):
        expected = np.broadcast_to(np.rint(np.asarray(outputs[name]) * 255), cells[:, 2].shape)
        np.testing.assert_allclose(cells[:, place], expected, atol=1)
    assert (cells[:, 1] < 100).any() and (cells[:, 1] == 255).any()
