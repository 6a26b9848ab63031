import numpy as np

from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.methods.stages.blink.task import BlinkTask


def test_curves_and_eyes_of_both_are_shown(closures, tracks_of):
    real, made = (tracks_of(closures(8, 75, seed)) for seed in (4, 5))
    task = BlinkTask(BlinkConfig())
    shown = task.previews({"blink": made}, {"blink": real})
    picture, video = shown.images["closure"], shown.videos["eyes"]
    assert picture.shape == (6 * 60, 75 * 6, 3) and video.shape == (75, 2 * 96, 6 * 240, 3)
    assert (picture != 255).any() and (video[0] != video[-1]).any()
    grey, red = video[:, :96], video[:, 96:]
    assert (np.ptp(grey.astype(int), axis=-1) == 0).all()
    assert np.ptp(red.astype(int), axis=-1).max() > 150
    # Each moves by its own tracks.
    still = task.previews({"blink": np.zeros_like(made)}, {"blink": real}).videos["eyes"]
    np.testing.assert_array_equal(still[:, :96], grey)
    assert (still[:, 96:] == still[0, 96:]).all() and (red != still[:, 96:]).any()
