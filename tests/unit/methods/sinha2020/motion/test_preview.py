import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.task import MotionTask

LIPS = get_scheme("ibug68").groups["lips"]


def test_previews_show_true_and_predicted_faces():
    rng = np.random.default_rng(0)
    batch = {"offsets": rng.normal(0, 0.03, (3, 4, 68, 2)).astype(np.float32)}
    moved = batch["offsets"].copy()
    moved[:, :, LIPS, 1] += 0.2
    task = MotionTask(MotionConfig())
    found = task.previews({"offsets": moved}, batch)
    image, video = found.images["landmarks"], found.videos["landmarks"]
    assert image.dtype == np.uint8 and video.shape == (4, *image.shape)
    np.testing.assert_array_equal(video[2], image)
    red = (image[..., 0] > 180) & (image[..., 1] < 120)
    same = task.previews({"offsets": batch["offsets"]}, batch).images["landmarks"]
    grey = np.ptp(image.astype(int), axis=-1) < 10
    hidden = np.ptp(same.astype(int), axis=-1) < 10
    # The prediction is drawn over the truth: grey shows where they differ.
    assert red.sum() > 300
    assert (grey & (image[..., 0] < 200)).sum() > (hidden & (same[..., 0] < 200)).sum() + 100
