import numpy as np

from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.wireframe import draw_wireframe
from talkface_jax.methods import pictures
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.methods.iplap.references import join


def test_predicted_content_on_the_true_pose_lies_over_the_true_face():
    rng = np.random.default_rng(0)
    pose, content, predicted = (
        rng.uniform(0.2, 0.8, (2, 5, count, 2)).astype(np.float32) for count in (74, 57, 57)
    )
    batch = {"pose": pose, "content": content}
    shown = MotionTask(MotionConfig()).previews({"content": predicted}, batch)
    edges, size = get_scheme("iplap131").edges, pictures.SIZE
    canvas = np.full((size, size, 3), 255, np.uint8)
    draw_wireframe(canvas, join(pose, content)[1, 4] * size, edges, (120, 120, 120))
    draw_wireframe(canvas, join(pose, predicted)[1, 4] * size, edges, (220, 60, 40))
    assert shown.videos["landmarks"].shape == (5, size, 2 * size, 3)
    np.testing.assert_array_equal(shown.videos["landmarks"][4, :, size:], canvas)
