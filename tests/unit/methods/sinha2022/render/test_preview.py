import numpy as np

from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.methods.sinha2022.render.preview import flow_colours
from talkface_jax.methods.sinha2022.render.task import RenderTask

SIZE = 32


def test_previews_show_every_map_in_a_row(batch, outputs):
    batch["points"][0] = batch["identity_points"][0]
    picture = RenderTask(RenderConfig()).previews(outputs, batch).images["faces"]
    assert picture.shape == (2 * SIZE, 6 * SIZE, 3) and picture.dtype == np.uint8
    cells = picture.reshape(2, SIZE, 6, SIZE, 3).transpose(0, 2, 1, 3, 4)
    np.testing.assert_array_equal(cells[:, 0], batch["identity"])
    np.testing.assert_array_equal(cells[:, 5], batch["face"])
    for place, name in ((3, "occlusion"), (4, "image")):
        expected = np.broadcast_to(np.rint(np.asarray(outputs[name]) * 255), cells[:, 3].shape)
        np.testing.assert_allclose(cells[:, place], expected, atol=1)
    heat = cells[:, 1].astype(int)
    np.testing.assert_array_equal(heat[0], 255)
    red, blue = heat[1, ..., 0] - heat[1, ..., 2], heat[1, ..., 2] - heat[1, ..., 0]
    assert red.max() > 100 and blue.max() > 100


def test_a_points_new_place_is_red_and_its_old_one_blue(batch, outputs):
    batch["points"][:], batch["identity_points"][:] = 0.25, 0.75
    cells = RenderTask(RenderConfig()).previews(outputs, batch).images["faces"]
    heat = cells[:SIZE, SIZE : 2 * SIZE]
    new, old = heat[SIZE // 4, SIZE // 4], heat[3 * SIZE // 4, 3 * SIZE // 4]
    assert new[0] > 250 and new[1:].max() < 30
    assert old[2] > 250 and old[:2].max() < 30


def test_colours_of_a_flow():
    flow = np.zeros((1, 5, 2), np.float32)
    flow[0, 1:, 0], flow[0, 3, 1] = (4, 2, -2, 8), 2 * np.sqrt(3)
    found = flow_colours(flow, full=4.0)[0]
    np.testing.assert_allclose(found[0], 1)
    np.testing.assert_allclose(found[1], [1, 0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(found[2], (1 + found[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[3], [0.25, 1, 0.25], atol=1e-6)
    np.testing.assert_allclose(found[4], found[1], atol=1e-6)
