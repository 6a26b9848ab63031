import numpy as np

from talkface_jax.methods.emotion.blendshapes import preview


def test_confusions_are_dark_where_they_are_often():
    labels = np.array([0, 0, 0, 0, 5])
    found = np.array([0, 0, 0, 1, 5])
    shown = preview.reader({"logits": np.eye(8)[found]}, {"emotion": labels})
    image = shown.images["confusion"]
    cells = image[16::32, 96 + 16 :: 32, 0].astype(int)
    assert image.dtype == np.uint8 and cells.shape == (8, 8)
    assert cells[0, 0] == 64 and cells[0, 1] == 191 and cells[5, 5] == 0
    assert (cells[[1, 2, 3, 4, 6, 7]] == 255).all() and (image[:, :96] < 255).any()
