"""Fine-tuning sinha2022 on one picture: what is trained, and that replay faces open mouths."""

import jax
import numpy as np
import pytest

from talkface_jax import config
from talkface_jax.data import replay
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods import registry
from talkface_jax.methods.finetuning import REPLAY, replay_faces
from talkface_jax.methods.sinha2022.render.config import RenderConfig
from talkface_jax.train import optim
from talkface_jax.train.picture import PictureSource


@pytest.fixture(scope="module")
def experiment():
    task = RenderConfig(perceptual="vgg19", vgg19_path="/theirs", flip=True, colour_jitter=0.1)
    found = registry.fine_tuning("sinha2022").experiment(task, seed=3, steps=50)
    config.validate(found)
    return found


def test_it_needs_no_file_and_no_discriminator(experiment):
    task = registry.build_task("sinha2022", "render", experiment.task)
    assert set(task.nets) == {"renderer"} and set(task.frozen()) == {"vgg", "lpips"}
    assert (experiment.seed, experiment.train.steps) == (3, 50)
    assert experiment.train.best_metric == "lpips" and experiment.train.patience > 0


def test_only_the_texture_branch_is_trained(experiment):
    task = registry.build_task("sinha2022", "render", experiment.task)
    shapes = jax.eval_shape(task.init, jax.random.key(0), task.view.spec(1))["renderer"]["params"]
    mask = optim.trained_mask(experiment.optim_of("renderer").only, shapes)
    assert set(mask) == {"motion", "texture"}
    assert all(jax.tree.leaves(mask["texture"])) and not any(jax.tree.leaves(mask["motion"]))


@pytest.mark.parametrize("source", ["clip", "neutral"])
def test_its_view_takes_the_picture_and_the_replay_faces(experiment, source):
    """Of a replay face another frame is the identity, of the picture itself."""
    pairs = replay.unpack(replay_faces(), where="the package")
    rows = {name: getattr(pairs[0], name)[:1] for name in replay._ROWS}
    picture = replay._segment(pairs[0].info, pairs[0].frames[:1], rows)
    task = registry.build_task(
        "sinha2022", "render", RenderConfig(align="affine", perceptual="vgg16", source=source)
    )
    data = PictureSource(picture, pairs[1:], seed=0, lineage={})
    batches = data.train(task.view, batch_size=4, seed=0)
    scheme, opened, same = get_scheme("ibug68"), [], 0
    for _ in range(12):
        batch = next(batches)
        for points, identity in zip(batch["points"], batch["identity_points"], strict=True):
            if np.abs(points - identity).max() < 1e-3:  # aligned, so not to the last digit
                same += 1
            else:
                lips = measures.mouth_opening(np.stack([points, identity]), scheme)
                opened.append(lips[0] - lips[1])
    batches.close()
    assert same == 12, "the picture is its own identity, once a batch"
    assert np.mean(np.array(opened) > 0.02) > 0.15
    (seen,) = data.evaluation(task.view, batch_size=2)
    np.testing.assert_allclose(seen["points"], seen["identity_points"], atol=1e-3)
    assert (seen["emotion"] == seen["face_emotion"]).all()


def test_every_bundle_brings_the_faces():
    files = registry.get_method("sinha2022").files({})
    assert set(files) == {REPLAY} and files[REPLAY] == replay_faces()
